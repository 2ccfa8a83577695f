def check_drift(config, **kw):
    raise NotImplementedError
