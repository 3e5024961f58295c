"""One data set, or one file format of data sets, per module."""
