"""Speed beside other libraries: ``python -m benchmarks``, or ``python -m benchmarks NAME`` for one case."""

#: Cases, in the order of the table, and the module that has a function of that name.
CASES = {
    "fit_skorch": "training",
    "fit_bare_loop": "training",
    "predict_skorch": "training",
    "permutation_importance_skorch": "replacement",
    "permutation_skorch": "replacement",
    "permutation_captum_5000": "replacement",
    "ablation_captum_5000": "replacement",
    "integrated_gradients_30": "gradients",
    "integrated_gradients_200": "gradients",
    "integrated_gradients_5000": "gradients",
    "expected_gradients_30": "gradients",
    "expected_gradients_200": "gradients",
    "expected_gradients_5000": "gradients",
    "deepshap_shap_30": "rules",
    "deepshap_shap_200": "rules",
    "deepshap_captum_30": "rules",
    "deepshap_captum_200": "rules",
    "kernel_shap_10": "shapley",
    "kernel_shap_30": "shapley",
    "shapley_sampling_10": "shapley",
    "shapley_sampling_30": "shapley",
    "sage": "shapley",
    "first_feature_importances": "start_up",
    "import_skexplain": "start_up",
}
