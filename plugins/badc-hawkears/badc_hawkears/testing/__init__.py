"""What tests of HawkEars need: a data folder with small checkpoints that truly detect, made without any download."""
