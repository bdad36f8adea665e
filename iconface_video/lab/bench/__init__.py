"""How fast: the stages and a whole pass over a clip, a model, a training step. Figures only; nothing is kept."""
