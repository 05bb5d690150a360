"""Training of CAKE: data, synthesis, losses and evaluation."""
