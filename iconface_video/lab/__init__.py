"""The researcher's half: training, measuring, timing. It imports the user's half, which never imports it."""
