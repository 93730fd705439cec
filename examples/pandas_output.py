"""
Data frames all the way
=======================

``set_output(transform="pandas")`` in front of a network: names survive, and so do the importances.
"""

import pandas as pd
from sklearn import set_config
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skexplain.keras import KerasClassifier

X, y = load_wine(return_X_y=True, as_frame=True)
set_config(transform_output="pandas")
pipe = make_pipeline(StandardScaler(), KerasClassifier(epochs=30, random_state=0)).fit(X, y)
net = pipe[-1]
print(pd.Series(net.feature_importances_, index=net.feature_names_in_).nlargest(5).round(3))
set_config(transform_output="default")

# %%
# The full record as a data frame.
print(net.importances_.to_frame().head())
