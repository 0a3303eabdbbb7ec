"""What the rules of disks.py stand on: the setting, images, targets, a wire that errs, and runs of the tool."""
