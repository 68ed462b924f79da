"""The extensions of images and annotations."""

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
CHANNEL_ENDINGS = (*IMAGE_ENDINGS, ".npy")  # if the number of channels is given
LABEL_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
