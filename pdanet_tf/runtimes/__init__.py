"""Other runtimes: conversion of TensorFlow graphs to their formats, and execution."""
