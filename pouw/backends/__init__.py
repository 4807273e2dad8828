"""The machines that programs run on; all of them give the same bits."""
