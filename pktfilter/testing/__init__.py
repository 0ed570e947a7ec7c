"""What tests of XDP programs use: programs with fresh maps, results that can be asserted on, differences in words."""
