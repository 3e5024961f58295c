"""Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 70,000 images of 28 x 28 pixels."""

from __future__ import annotations

from pathlib import Path

from pipelines.data.sets.idx import IdxFiles

#: SHA-256 of the uncompressed files.
FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FASHION_MNIST = IdxFiles(
    "fashion-mnist",
    classes=10,
    validation=5000,
    splits="be4695cd7b7ccb548f3f2f14faf62d3eef20439bec9ad9b215e653340326d5a6",
    files=FILES,
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    folders=(Path("/usr/share/datasets/fashion-mnist"),),
)
