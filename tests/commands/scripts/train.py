"""Fits a polynomial to data.csv and writes model.json."""

import argparse
import json

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--degree", type=int, default=5)
degree = parser.parse_args().degree

data = np.loadtxt("data.csv", delimiter=",", ndmin=2)
x, y = data[:, 0], data[:, 1]
weights = np.polyfit(x, y, min(degree, len(x) - 1))
with open("model.json", "w") as file:
    json.dump(weights.tolist(), file)
print(float(np.mean((np.polyval(weights, x) - y) ** 2)))
