print("no cookie: café")
