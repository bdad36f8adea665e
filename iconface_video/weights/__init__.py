"""The weights that come along, with their manifests and the model card. Made by lab/train; `models verify` checks them."""
