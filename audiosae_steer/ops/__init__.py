"""TODO audiosae_steer/ops"""
