"""Augmentation of whole batches as tensor operations.

pipeline          crops, flips and the policies below, batch by batch
auto_augment      AutoAugment and RandAugment policies
image_operations  the operations of these policies on batches of images
mixup             mixup and label smoothing
"""
