"""Model files as the common libraries write them: what a scan must stay silent about."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np

Maker = Callable[[Path], None]
_COMPRESSIONS: tuple[Any, ...] = (0, 3, ("gzip", 3), ("bz2", 3), ("lzma", 1), ("xz", 1), 0, 0)


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(80, 4))
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


def estimators() -> Iterator[tuple[str, Any]]:
    """Fitted estimators of scikit-learn, one for each family and more."""
    from sklearn import (
        calibration,
        cluster,
        compose,
        covariance,
        cross_decomposition,
        decomposition,
        discriminant_analysis,
        dummy,
        ensemble,
        feature_selection,
        gaussian_process,
        impute,
        isotonic,
        kernel_approximation,
        kernel_ridge,
        linear_model,
        manifold,
        mixture,
        model_selection,
        multiclass,
        multioutput,
        naive_bayes,
        neighbors,
        neural_network,
        pipeline,
        preprocessing,
        random_projection,
        semi_supervised,
        svm,
        tree,
    )

    X, y = data()
    forest, logistic = ensemble.RandomForestClassifier(5), linear_model.LogisticRegression()
    yield from (
        (type(one).__name__, one.fit(X, y))
        for one in (
            logistic,
            linear_model.LinearRegression(),
            linear_model.RidgeCV(),
            linear_model.LassoCV(cv=3),
            linear_model.ElasticNet(),
            linear_model.SGDClassifier(),
            linear_model.SGDRegressor(),
            linear_model.Perceptron(),
            linear_model.PassiveAggressiveClassifier(),
            linear_model.BayesianRidge(),
            linear_model.HuberRegressor(),
            linear_model.RANSACRegressor(),
            linear_model.PoissonRegressor(),
            linear_model.QuantileRegressor(),
            forest,
            ensemble.ExtraTreesRegressor(5),
            ensemble.GradientBoostingClassifier(n_estimators=5),
            ensemble.GradientBoostingRegressor(n_estimators=5, loss="huber"),
            ensemble.HistGradientBoostingClassifier(max_iter=5),
            ensemble.HistGradientBoostingRegressor(max_iter=5, loss="poisson"),
            ensemble.AdaBoostClassifier(n_estimators=3),
            ensemble.BaggingClassifier(n_estimators=3),
            ensemble.IsolationForest(n_estimators=5),
            ensemble.VotingClassifier([("a", forest), ("b", logistic)]),
            ensemble.StackingClassifier([("a", tree.DecisionTreeClassifier())], logistic, cv=2),
            svm.SVC(probability=False),
            svm.LinearSVC(),
            svm.SVR(),
            svm.OneClassSVM(),
            tree.DecisionTreeClassifier(),
            tree.ExtraTreeRegressor(),
            neighbors.KNeighborsClassifier(algorithm="kd_tree"),
            neighbors.KNeighborsRegressor(algorithm="ball_tree"),
            neighbors.RadiusNeighborsClassifier(radius=9.0),
            neighbors.LocalOutlierFactor(novelty=True),
            neighbors.NearestCentroid(),
            neighbors.KernelDensity(),
            neighbors.NeighborhoodComponentsAnalysis(max_iter=2),
            naive_bayes.GaussianNB(),
            naive_bayes.BernoulliNB(),
            neural_network.MLPClassifier(max_iter=3),
            neural_network.BernoulliRBM(n_iter=1),
            gaussian_process.GaussianProcessClassifier(),
            gaussian_process.GaussianProcessRegressor(
                gaussian_process.kernels.RBF() + gaussian_process.kernels.WhiteKernel()
            ),
            discriminant_analysis.LinearDiscriminantAnalysis(),
            discriminant_analysis.QuadraticDiscriminantAnalysis(),
            kernel_ridge.KernelRidge(kernel="rbf"),
            kernel_approximation.RBFSampler(),
            kernel_approximation.Nystroem(n_components=5),
            mixture.GaussianMixture(2),
            mixture.BayesianGaussianMixture(n_components=2),
            cluster.KMeans(2),
            cluster.MiniBatchKMeans(2),
            cluster.DBSCAN(),
            cluster.AgglomerativeClustering(),
            cluster.Birch(),
            cluster.SpectralClustering(2),
            decomposition.PCA(2),
            decomposition.NMF(2) if (X > 0).all() else decomposition.FastICA(2),
            decomposition.TruncatedSVD(2),
            decomposition.KernelPCA(2),
            decomposition.FactorAnalysis(2),
            manifold.Isomap(n_components=2),
            covariance.EllipticEnvelope(),
            cross_decomposition.PLSRegression(2),
            feature_selection.SelectKBest(feature_selection.f_classif, k=2),
            feature_selection.SelectKBest(feature_selection.mutual_info_classif, k=2),
            feature_selection.RFE(logistic),
            feature_selection.VarianceThreshold(),
            impute.SimpleImputer(),
            impute.KNNImputer(),
            preprocessing.StandardScaler(),
            preprocessing.OneHotEncoder(handle_unknown="ignore"),
            preprocessing.OrdinalEncoder(),
            preprocessing.PowerTransformer(),
            preprocessing.QuantileTransformer(n_quantiles=10),
            preprocessing.KBinsDiscretizer(quantile_method="averaged_inverted_cdf"),
            preprocessing.PolynomialFeatures(),
            preprocessing.SplineTransformer(),
            preprocessing.FunctionTransformer(np.log1p),
            preprocessing.TargetEncoder(),
            random_projection.GaussianRandomProjection(2),
            semi_supervised.LabelPropagation(),
            calibration.CalibratedClassifierCV(logistic, cv=2),
            multiclass.OneVsRestClassifier(logistic),
            multiclass.OutputCodeClassifier(logistic),
            multioutput.ClassifierChain(logistic) if y.ndim > 1 else dummy.DummyClassifier(),
            dummy.DummyRegressor(),
            model_selection.GridSearchCV(logistic, {"C": [0.1, 1.0]}, cv=2, scoring="roc_auc"),
            model_selection.RandomizedSearchCV(forest, {"max_depth": [2, 3]}, n_iter=2, cv=2),
            compose.ColumnTransformer([("s", preprocessing.StandardScaler(), [0, 1])], remainder="passthrough"),
            compose.TransformedTargetRegressor(linear_model.LinearRegression(), func=np.exp, inverse_func=np.log),
            pipeline.make_pipeline(preprocessing.MinMaxScaler(), svm.SVC()),
            pipeline.make_union(decomposition.PCA(1), preprocessing.RobustScaler()),
        )
    )
    yield "IsotonicRegression", isotonic.IsotonicRegression().fit(X[:, 0], y)
    yield from texts()


def texts() -> Iterator[tuple[str, Any]]:
    """Vectorizers and what is built on them."""
    from sklearn import decomposition, feature_extraction, naive_bayes, pipeline, preprocessing
    from sklearn.svm import LinearSVC

    words = ["a b c", "spam eggs", "win money now", "hello there"] * 5
    text = feature_extraction.text
    yield "CountVectorizer", text.CountVectorizer().fit(words)
    yield "TfidfVectorizer", text.TfidfVectorizer(ngram_range=(1, 2)).fit(words)
    yield "HashingVectorizer", text.HashingVectorizer().fit(words)
    labels = [0, 1, 1, 0] * 5
    yield "text-pipeline", pipeline.make_pipeline(text.TfidfVectorizer(), LinearSVC()).fit(words, labels)
    yield "text-nb", pipeline.make_pipeline(text.CountVectorizer(), naive_bayes.MultinomialNB()).fit(words, labels)
    yield "LDA", decomposition.LatentDirichletAllocation(2).fit(text.CountVectorizer().fit_transform(words))
    yield "DictVectorizer", feature_extraction.DictVectorizer().fit([{"a": 1, "b": "x"}])
    yield "LabelEncoder", preprocessing.LabelEncoder().fit(labels)
    yield "LabelBinarizer", preprocessing.LabelBinarizer().fit(labels)
    yield "MultiLabelBinarizer", preprocessing.MultiLabelBinarizer().fit([[1, 2], [3]])


def write_sklearn(folder: Path) -> None:
    """Every estimator in one of eight ways: pickles of each protocol, and joblib in each compression."""
    for number, (name, fitted) in enumerate(estimators()):
        if number % 2:
            (folder / f"{number:03d}-{name}.pkl").write_bytes(pickle.dumps(fitted, protocol=number // 2 % 6))
        else:
            compress = _COMPRESSIONS[number // 2 % len(_COMPRESSIONS)]
            joblib.dump(fitted, folder / f"{number:03d}-{name}.joblib", compress=compress)


def write_arrays(folder: Path) -> None:
    """NumPy in its own containers and in joblib's, inline between opcodes."""
    rng = np.random.default_rng(0)
    np.savez(folder / "arrays.npz", a=rng.normal(size=(3, 4)), b=np.arange(5))
    np.savez_compressed(folder / "packed.npz", a=rng.normal(size=100), s=np.array(["x", "yy"]))
    np.save(folder / "records.npy", np.zeros(3, dtype=[("a", "<f8"), ("b", "<i4")]))
    np.save(folder / "words.npy", np.array(["a", None, 3], dtype=object), allow_pickle=True)
    inline = {
        "f": rng.normal(size=(20, 3)),
        "fortran": np.asfortranarray(rng.normal(size=(5, 7))),
        "objects": np.array(["a", {"b": 1}, None], dtype=object),
        "records": np.zeros(3, dtype=[("a", "<f8"), ("b", "S5")]),
        "dates": np.array(["2026-01-01"], dtype="datetime64[D]"),
        "empty": np.zeros((0, 4)),
        "texts": np.array(["ab", "cde"]),
        "scalar": np.array(3.5),
    }
    joblib.dump(inline, folder / "inline.joblib")
    joblib.dump(inline, folder / "inline-0.joblib", protocol=0)
    joblib.dump(inline, folder / "inline-2.joblib.z", protocol=2, compress=3)
    (folder / "several.pkl").write_bytes(pickle.dumps({"a": 1}) + pickle.dumps([inline["f"]], protocol=2))
    import scipy.sparse

    joblib.dump(scipy.sparse.random(9, 9, 0.3, "csr", random_state=0), folder / "sparse.joblib")
    (folder / "generator.pkl").write_bytes(pickle.dumps(np.random.default_rng(1)))


def write_boosters(folder: Path) -> None:
    """XGBoost and LightGBM, in their own formats and pickled."""
    import lightgbm
    import xgboost

    X, y = data()
    xgb = xgboost.XGBClassifier(n_estimators=3).fit(X, y)
    xgb.save_model(folder / "xgb.json")
    xgb.save_model(folder / "xgb.ubj")
    joblib.dump(xgb, folder / "xgb.joblib")
    (folder / "xgb-booster.pkl").write_bytes(pickle.dumps(xgb.get_booster()))
    lgb = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y)
    lgb.booster_.save_model(folder / "lgb.txt")
    (folder / "lgb.pkl").write_bytes(pickle.dumps(lgb))
    (folder / "lgb-booster.pkl").write_bytes(pickle.dumps(lgb.booster_))


def write_torch(folder: Path) -> None:
    """PyTorch: state dictionaries in both formats, whole modules, checkpoints, TorchScript, plain pickles."""
    import torch

    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8, 2)
    )
    torch.save(model.state_dict(), folder / "state.pt")
    torch.save(model.state_dict(), folder / "state-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(model, folder / "whole.pt")
    torch.save(model, folder / "whole-legacy.pt", _use_new_zipfile_serialization=False)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.zeros(1, 1, 4, 4)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.5}
    torch.save(state, folder / "checkpoint.ckpt")
    torch.save({"half": torch.zeros(3, dtype=torch.bfloat16), "q": torch.arange(4)}, folder / "pytorch_model.bin")
    torch.save(torch.quantize_per_tensor(torch.rand(4), 0.1, 0, torch.quint8), folder / "quantised.pt")
    torch.save(torch.eye(3).to_sparse(), folder / "sparse.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(folder / "script.pt"))
    traced = torch.jit.trace(model, torch.zeros(1, 1, 4, 4))  # type: ignore[no-untyped-call]  # torch types it not
    torch.jit.save(traced, str(folder / "traced.pt"))
    (folder / "state.pkl").write_bytes(pickle.dumps(model.state_dict()))
    joblib.dump(model.state_dict(), folder / "state.joblib")
    transformer = torch.nn.TransformerEncoderLayer(8, 2)
    torch.save({"layers": [transformer.state_dict()]}, folder / "nested.pt")


def write_graphs(folder: Path) -> None:
    """ONNX, safetensors, skops, Keras, GGUF, configurations and a .nemo archive."""
    import gguf
    import h5py
    import onnx
    import safetensors.numpy
    import skops.io
    from onnx import TensorProto, helper, numpy_helper

    X, y = data()
    node = helper.make_node("Gemm", ["x", "w"], ["y"])
    weights = numpy_helper.from_array(np.ones((4, 2), dtype=np.float32), "w")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [value("x", TensorProto.FLOAT, [None, 4])], [value("y", TensorProto.FLOAT, [None, 2])], [weights]
    )
    onnx.save(helper.make_model(graph), folder / "model.onnx")
    external = helper.make_model(graph)
    onnx.save(external, folder / "external.onnx", save_as_external_data=True, size_threshold=0, location="w.data")
    safetensors.numpy.save_file({"w": np.ones((3, 3), dtype=np.float32)}, folder / "model.safetensors")
    from sklearn.linear_model import LogisticRegression

    skops.io.dump(LogisticRegression().fit(X, y), folder / "model.skops")
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {"units": 3}}]}}
    with h5py.File(folder / "keras.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file["w"] = np.ones((3, 3))
    keras3 = {
        "module": "keras",
        "class_name": "Functional",
        "config": {"layers": [{"module": "keras.layers", "class_name": "Dense", "config": {"activation": "relu"}}]},
        "compile_config": {"optimizer": {"module": "keras.optimizers", "class_name": "Adam", "config": {}}},
    }
    write_zip(folder / "keras3.keras", {"config.json": json.dumps(keras3).encode(), "metadata.json": b"{}"})
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_chat_template(CHAT_TEMPLATE)
    writer.add_tensor("w", np.ones((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE, "eos": "</s>"}))
    (folder / "config.json").write_text(json.dumps({"architectures": ["BertModel"], "hidden_size": 8}))
    (folder / "README.md").write_text("# A model\n\nimport os is only written here.\n")
    (folder / "labels.txt").write_text("cat\ndog\n")
    (folder / "vocab.json").write_text(json.dumps({f"word{i}": i for i in range(200)}))
    with tarfile.open(folder / "model.nemo", "w:gz") as archive:
        for name in ("config.json", "model.safetensors"):
            archive.add(folder / name, name)


CHAT_TEMPLATE = """{%- set ns = namespace(found=false) -%}
{{- bos_token }}{% for message in messages %}{% if message['role'] == 'user' and loop.index0 % 2 == 0 %}
{{- '<|im_start|>' + message.role + '\\n' + message['content'] | trim + '<|im_end|>' }}
{%- elif message.tool_calls is defined %}{{ message.tool_calls | tojson(indent=2) }}{% set ns.found = true %}
{%- else %}{{ raise_exception('Only user and assistant roles, not __system__, are known: "os.path"') }}{% endif %}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def write_zip(place: Path, members: dict[str, bytes]) -> None:
    import zipfile

    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, body in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


WRITERS: tuple[Maker, ...] = (write_sklearn, write_arrays, write_boosters, write_torch, write_graphs)


def write_all(folder: Path) -> None:
    """Write every benign file into a folder."""
    for writer in WRITERS:
        place = folder / writer.__name__.removeprefix("write_")
        place.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            writer(place)
