def as_query(x): return x
def as_label(x): return x
def as_metrology(x): return x
