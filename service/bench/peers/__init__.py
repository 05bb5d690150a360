"""What others do with the same video on the same core, for comparison (`cake bench --peers`)."""
