async def label_collection(experiment, run_id, iterations=1):
    raise NotImplementedError
