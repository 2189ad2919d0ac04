"""The optional step before segmentation: large enough, saved by rule, and a feed for the network."""
