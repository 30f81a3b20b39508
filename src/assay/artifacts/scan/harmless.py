"""What the models of common libraries are made of. Narrow on purpose: exact names, or classes by naming habit.

Functions are listed one by one. Classes of estimators, layers and sparse matrices are admitted by their
package and by being written as classes are; a test walks the installed packages and holds that no class
admitted so was defined anywhere else, so that nothing slips in through a re-export.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BY_MODULE = {
    "builtins": "set frozenset list dict tuple int float complex bool bytes bytearray str object slice range"
    " NoneType Ellipsis ellipsis NotImplemented type",
    "collections": "OrderedDict defaultdict deque Counter",
    "_collections": "OrderedDict deque defaultdict",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "_codecs": "encode",
    "array": "array _array_reconstructor",
    "datetime": "datetime date time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
    "random": "Random",
    "types": "SimpleNamespace NoneType",
    "functools": "cmp_to_key",
    "re": "_compile RegexFlag",
    "inspect": "",
    "enum": "",
    "pathlib": "PosixPath PurePosixPath PureWindowsPath WindowsPath PurePath Path",
    "numpy": "dtype ndarray matrix recarray bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 intp uintp"
    " int_ intc uint float16 float32 float64 longdouble float128 complex64 complex128 float_ str_ bytes_ object_ void"
    " number floating integer inexact generic signedinteger unsignedinteger timedelta64 datetime64 nan inf"
    " longlong ulonglong abs absolute add exp exp2 expm1 log log10 log1p log2 sqrt square cbrt sign tanh sin cos tan"
    " arcsinh sinh cosh"
    " maximum minimum multiply divide subtract reciprocal negative power floor ceil rint clip asarray mean median"
    " sum max min amax amin var std prod nanmean nanmedian nansum nanmax nanmin nan_to_num argmax argmin sort ravel",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "numpy.ma": "MaskedArray",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
    "scipy._external.array_api_compat.numpy._aliases": "asarray",
    "numpy.ma.core": "_mareconstruct MaskedArray",
    "numpy.matrixlib.defmatrix": "matrix",
    "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
    "numpy.random": "__RandomState_ctor RandomState",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "numpy.random._generator": "Generator",
    "numpy.random.mtrand": "RandomState __RandomState_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "numpy.dtypes": "Float64DType Float32DType Int64DType Int32DType StrDType ObjectDType BoolDType",
    "numpy.polynomial.polynomial": "Polynomial",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "sklearn.externals.joblib.numpy_pickle": "NumpyArrayWrapper",
    "scipy.interpolate._interpolate": "interp1d PPoly BPoly",
    "scipy.interpolate.interpolate": "interp1d",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.interpolate._cubic": "CubicSpline PchipInterpolator Akima1DInterpolator",
    "scipy.spatial._kdtree": "KDTree",
    "scipy.spatial._ckdtree": "cKDTree",
    "scipy.spatial.kdtree": "KDTree",
    "scipy.spatial.ckdtree": "cKDTree",
    "scipy.stats._distn_infrastructure": "rv_continuous_frozen rv_discrete_frozen rv_frozen",
    "scipy.stats._kde": "gaussian_kde",
    "scipy.special._ufuncs": "expit logit xlogy gammaln erf digamma log1p expm1 psi",
    "scipy.special._special_ufuncs": "expit logit gammaln erf digamma",
    "scipy.special": "expit logit",
    "sklearn.utils": "Bunch",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils.deprecation": "",
    "sklearn.tree._tree": "Tree __pyx_unpickle_Tree",
    "sklearn.tree.tree": "",
    "sklearn.neighbors._kd_tree": "newObj KDTree KDTree64 KDTree32 __pyx_unpickle_KDTree",
    "sklearn.neighbors._ball_tree": "newObj BallTree BallTree64 BallTree32",
    "sklearn.neighbors.kd_tree": "newObj",
    "sklearn.neighbors.ball_tree": "newObj",
    "sklearn.neighbors._dist_metrics": "newObj",
    "sklearn.neighbors.dist_metrics": "newObj",
    "sklearn.neighbors._quad_tree": "_QuadTree",
    "sklearn.metrics._dist_metrics": "newObj",
    "sklearn.metrics._scorer": "_Scorer _PredictScorer _ProbaScorer _ThresholdScorer _passthrough_scorer"
    " _PassthroughScorer _MultimetricScorer _CurveScorer",
    "sklearn.metrics._classification": "accuracy_score f1_score precision_score recall_score log_loss"
    " balanced_accuracy_score matthews_corrcoef brier_score_loss fbeta_score",
    "sklearn.metrics._ranking": "roc_auc_score average_precision_score",
    "sklearn.metrics._regression": "r2_score mean_squared_error mean_absolute_error median_absolute_error"
    " root_mean_squared_error mean_squared_log_error max_error explained_variance_score",
    "sklearn.metrics.pairwise": "rbf_kernel linear_kernel polynomial_kernel cosine_similarity euclidean_distances",
    "sklearn.feature_selection._univariate_selection": "f_classif f_regression chi2",
    "sklearn.feature_selection.univariate_selection": "f_classif f_regression chi2",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.utils._random": "",
    "sklearn.linear_model._sgd_fast": "Hinge Log SquaredLoss Huber ModifiedHuber SquaredHinge EpsilonInsensitive"
    " SquaredEpsilonInsensitive",
    "sklearn.linear_model.sgd_fast": "Hinge Log SquaredLoss Huber ModifiedHuber SquaredHinge",
    "sklearn.svm._classes": "",
    "sklearn._isotonic": "",
    "xgboost.core": "Booster",
    "xgboost.sklearn": "XGBModel XGBClassifier XGBRegressor XGBRanker XGBRFClassifier XGBRFRegressor",
    "xgboost.compat": "XGBoostLabelEncoder",
    "lightgbm.basic": "Booster",
    "lightgbm.sklearn": "LGBMModel LGBMClassifier LGBMRegressor LGBMRanker",
    "lightgbm.compat": "_LGBMLabelEncoder",
    "catboost.core": "CatBoost CatBoostClassifier CatBoostRegressor CatBoostRanker",
    "pandas": "DataFrame Series Index MultiIndex Categorical Timestamp",
    "pandas.core.frame": "DataFrame",
    "pandas.core.series": "Series",
    "pandas.core.indexes.base": "_new_Index Index",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.indexes.multi": "MultiIndex",
    "pandas.core.indexes.numeric": "Int64Index Float64Index",
    "pandas.core.internals.managers": "BlockManager SingleBlockManager",
    "pandas.core.internals.blocks": "new_block",
    "pandas._libs.internals": "_unpickle_block BlockManager",
    "pandas._libs.arrays": "__pyx_unpickle_NDArrayBacked",
    "pandas.core.arrays.categorical": "Categorical",
    "pandas.core.arrays.string_": "StringArray StringDtype",
    "pandas.core.dtypes.dtypes": "CategoricalDtype",
    "torch": "Size device dtype Tensor Generator layout memory_format strided sparse_coo sparse_csr contiguous_format"
    " preserve_format channels_last float float16 float32 float64 bfloat16 half double int8 int16 int32 int64 uint8"
    " uint16 uint32 uint64 bool complex32 complex64 complex128 int long short qint8 quint8 qint32 quint4x2 quint2x4"
    " float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu per_tensor_affine per_channel_affine"
    " FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage"
    " ByteStorage BoolStorage ComplexFloatStorage ComplexDoubleStorage QInt8Storage QUInt8Storage QInt32Storage"
    " QUInt4x2Storage QUInt2x4Storage FloatTensor DoubleTensor HalfTensor LongTensor IntTensor ByteTensor BoolTensor"
    " BFloat16Tensor",
    "torch.cuda": "FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ByteStorage"
    " BoolStorage CharStorage ShortStorage FloatTensor HalfTensor LongTensor",
    "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter"
    " _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor"
    " _rebuild_meta_tensor_no_storage _rebuild_nested_tensor _rebuild_device_tensor_from_numpy"
    " _rebuild_device_tensor_from_cpu_tensor _rebuild_xla_tensor",
    "torch._tensor": "_rebuild_from_type_v2 Tensor",
    "torch.nn.parameter": "Parameter UninitializedParameter Buffer",
    "torch.nn.backends.thnn": "_get_thnn_function_backend",
    "torch.storage": "_load_from_bytes TypedStorage UntypedStorage _TypedStorage _UntypedStorage",
    "torch.serialization": "_get_layout",
    "torch.jit._pickle": "build_intlist build_tensorlist build_doublelist build_boollist build_tensor_from_id"
    " restore_type_tag",
    "ml_dtypes": "bfloat16 float8_e4m3fn float8_e5m2",
    "ml_dtypes._ml_dtypes_ext": "bfloat16",
}
NAMES = frozenset(f"{module}.{name}" for module, names in _BY_MODULE.items() for name in names.split())

_CLASS = r"_{0,2}[A-Z][A-Za-z0-9]*"
_SKLEARN = (
    "base|calibration|cluster|compose|covariance|cross_decomposition|decomposition|discriminant_analysis|dummy"
    "|ensemble|feature_extraction|feature_selection|frozen|gaussian_process|grid_search|impute|isotonic"
    "|kernel_approximation|kernel_ridge|linear_model|manifold|mixture|model_selection|multiclass|multioutput"
    "|naive_bayes|neighbors|neural_network|pipeline|preprocessing|random_projection|semi_supervised|svm|tree"
)
# torch.nn: layers keep what they are given; optimizers and schedulers are not needed to serve and stay out.
CLASSES = (
    re.compile(rf"sklearn\.(?:{_SKLEARN})(?:\.(?!tests|conftest)_?[a-z][a-z0-9_]*)*\.{_CLASS}\Z"),
    re.compile(r"sklearn\.(?:metrics|neighbors)\._?dist_metrics\.[A-Z][A-Za-z]*Distance(?:32|64)?\Z"),
    re.compile(r"sklearn\._loss\.(?:loss|link|_loss)\._{0,2}(?:[A-Z][A-Za-z0-9]*|pyx_unpickle_Cy[A-Za-z0-9]+)\Z"),
    re.compile(
        r"scipy\.sparse\.(?:_?(?:csr|csc|coo|bsr|dia|dok|lil)\.)?(?:csr|csc|coo|bsr|dia|dok|lil)_(?:matrix|array)\Z"
    ),
    re.compile(r"scipy\.stats\._(?:continuous|discrete)_distns\.[a-z0-9_]+_gen\Z"),
    re.compile(rf"torch\.nn\.(?:modules\.[a-z]+|quantized\.modules\.[a-z]+)\.{_CLASS}\Z"),
    # The types of TorchScript; no module of this name can be imported.
    re.compile(r"__torch__\.[A-Za-z0-9_.]+\Z"),
)
# Written like classes of the packages above, but none of their estimators: taken out again.
REEXPORTED = _words(
    """
    Parallel Path PurePath Popen Thread Lock RLock Pool Executor ThreadPoolExecutor ProcessPoolExecutor Memory Process
    Queue Template Formatter Request Session HTTPError URLError StringIO BytesIO TextIOWrapper FileIO GeneratorType
    FunctionType MethodType CodeType ModuleType LambdaType SimpleNamespace ExitStack F T V _V _VF Integral Real Number
    TypeVar ABC ABCMeta Mapping MutableMapping Iterable Iterator Sequence Callable Counter OrderedDict Any Tensor Size
    RemovableHandle BackwardHook DeviceLikeType NodeData NodeHeapData SENTINEL EPSILON LAMBDAS COEFS DERIVATIVES
    ACTIVATIONS _LOSSES _LINKS _SCORERS _Reduction
    """
)
