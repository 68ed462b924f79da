"""The demo page of `pdanet-tf demo` (extra `demo`): a small server, and a page without a build."""
