"""What the image adds to the worker: two programs of the standard library, and how it is built."""
