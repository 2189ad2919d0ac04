"""Finding the subject of a picture and cutting it out: alpha, foreground colours, evidence."""
