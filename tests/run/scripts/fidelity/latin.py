# -*- coding: latin-1 -*-
print("café".encode())
raise ValueError("café")
