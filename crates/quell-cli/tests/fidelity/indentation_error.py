def f():
    pass
   pass
