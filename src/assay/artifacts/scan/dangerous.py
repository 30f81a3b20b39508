"""What no model needs and every attack does: names that run commands, read files, reach the network or load code.

Sources: Python's standard library and the public lists and bypasses of other scanners (advisories of
picklescan, CVE-2025-1716 and later; Hugging Face's and ProtectAI's write-ups), each looked up in the
library itself.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Everything below these modules is dangerous, by any name.
MODULES = _words(
    """
    os posix nt ntpath posixpath subprocess _posixsubprocess _winapi winreg _winreg msvcrt pty tty pwd grp
    spwd crypt sys _sys importlib _imp imp _frozen_importlib _frozen_importlib_external imputil zipimport
    pkgutil runpy code codeop pdb bdb cmd trace _trace profile cProfile _lsprof pstats timeit doctest unittest
    test lib2to3 idlelib pydoc pydoc_data turtledemo antigravity this webbrowser socket _socket socketserver
    ssl _ssl select selectors asyncio _asyncio http urllib urllib2 urllib3 httplib httplib2 requests aiohttp
    httpx ftplib telnetlib smtplib smtpd poplib imaplib nntplib xmlrpc xmlrpclib SimpleHTTPServer
    BaseHTTPServer CGIHTTPServer SocketServer cgi cgitb wsgiref uuid._popen shutil glob fileinput filecmp
    tempfile pathlib._local linecache zipfile tarfile ctypes _ctypes cffi _cffi_backend multiprocessing
    _multiprocessing concurrent threading _thread thread dummy_threading signal _signal sched faulthandler
    resource mmap fcntl termios syslog gc inspect dis ast symtable _ast site sysconfig _sitebuiltins distutils
    setuptools pkg_resources pip ensurepip venv easy_install _distutils_hack marshal pickle cPickle _pickle
    pickletools shelve dbm sqlite3 dill cloudpickle jsonpickle commands popen2 popen _osx_support _aix_support
    _pyrepl _bootsubprocess _testcapi _testinternalcapi _xxsubinterpreters _interpreters compileall py_compile
    compiler atexit builtins.__loader__ IPython ptpython jupyter_client paramiko fabric invoke plumbum sh
    pexpect ptyprocess winpty psutil git boto3 botocore torch.hub torch.package torch.distributed
    torch.multiprocessing torch._inductor torch._dynamo torch.utils.cpp_extension torch.utils.data
    torch.utils.bottleneck torch.utils.collect_env torch.utils._config_module torch.fx torch.onnx torch.jit
    torch.testing torch._C._jit torch.ops torch.utils.model_zoo torch.utils.checkpoint torch.export
    torch._export torch.profiler numpy.f2py numpy.testing numpy.distutils numpy.ctypeslib numpy.lib.npyio
    numpy.lib.format numpy.lib._npyio_impl numpy.lib._format_impl numpy.compat numpy.core._dummy scipy.io
    scipy._lib pandas.io pandas.core.computation pandas.compat sklearn.externals sklearn.datasets
    sklearn.utils._testing sklearn.utils.fixes sklearn.utils.parallel sklearn.conftest sklearn.tests
    joblib.externals joblib.parallel joblib.memory joblib.test joblib.testing joblib._parallel_backends
    joblib.pool joblib.func_inspect tensorflow.python tensorflow.io tensorflow.compat keras.utils keras.config
    keras.saving jax.experimental.host_callback transformers.dynamic_module_utils transformers.utils.hub
    huggingface_hub datasets fsspec s3fs smart_open mako jinja2 chameleon werkzeug flask django tornado
    cherrypy gunicorn uvicorn celery nltk.downloader cryptography.hazmat.bindings pycparser numba llvmlite
    cython Cython pythran cupy.cuda ray dask.distributed distributed
    """
)

# Dangerous by their full path; the rest of their module may be unknown or harmless.
NAMES = _words(
    """
    builtins.eval builtins.exec builtins.compile builtins.getattr builtins.setattr builtins.delattr
    builtins.hasattr builtins.__import__ builtins.open builtins.input builtins.breakpoint builtins.vars
    builtins.globals builtins.locals builtins.dir builtins.apply builtins.execfile builtins.file
    builtins.reload builtins.map builtins.filter builtins.help builtins.memoryview builtins.__build_class__
    builtins.classmethod builtins.staticmethod builtins.property builtins.super builtins.callable
    builtins.iter builtins.next builtins.exit builtins.quit builtins.copyright io.open io.open_code io.FileIO
    _io.open _io.open_code _io.FileIO _pyio.open _pyio.FileIO codecs.open codecs.EncodedFile
    codecs.StreamReaderWriter gzip.open gzip.GzipFile bz2.open bz2.BZ2File lzma.open lzma.LZMAFile
    tokenize.open operator.attrgetter operator.methodcaller operator.itemgetter operator.call
    _operator.attrgetter _operator.methodcaller _operator.itemgetter _operator.call functools.partial
    functools.partialmethod functools.reduce _functools.partial _functools.reduce functools.singledispatch
    itertools.starmap itertools.accumulate itertools.filterfalse types.CodeType types.FunctionType
    types.LambdaType types.MethodType types.ModuleType types.GeneratorType types.new_class types.coroutine
    types.DynamicClassAttribute types.MethodWrapperType types.BuiltinFunctionType _functools.partialmethod
    copyreg.pickle copyreg.add_extension copyreg.constructor copyreg.__builtins__ logging.FileHandler
    logging.config logging.handlers contextlib.ExitStack contextlib.redirect_stdout weakref.finalize
    abc.update_abstractmethods ctypes.CDLL uuid._get_command_stdout uuid._popen platform.popen
    platform._syscmd_ver platform._syscmd_file platform.os mimetypes.init locale.os getpass.getpass
    getpass.getuser random._os statistics.NormalDist.__class__ string.Formatter xml.sax.parse
    xml.etree.ElementTree.parse configparser.ConfigParser.read netrc.netrc ensurepip._run_pip numpy.load
    numpy.loads numpy.fromfile numpy.memmap numpy.save numpy.savez numpy.savetxt numpy.loadtxt
    numpy.genfromtxt numpy.fromregex numpy.vectorize numpy.frompyfunc numpy.apply_along_axis
    numpy.apply_over_axes numpy.piecewise numpy.fromfunction numpy.DataSource numpy.show_config
    numpy.core._ufunc_reconstruct numpy._core._ufunc_reconstruct numpy.core.records.fromfile
    numpy.memmap.memmap numpy._core.records.fromfile numpy.core.multiarray.fromfile
    numpy._core.multiarray.fromfile numpy.core.multiarray.set_string_function numpy.core.memmap.memmap
    numpy._core.memmap.memmap numpy.safe_eval numpy.lib.utils.safe_eval joblib.load joblib.dump joblib.Memory
    joblib.Parallel joblib.delayed joblib.numpy_pickle.load joblib.numpy_pickle.load_temporary_memmap
    joblib.numpy_pickle.NDArrayWrapper joblib.numpy_pickle.ZNDArrayWrapper
    joblib.numpy_pickle_compat.load_compatibility joblib.numpy_pickle_compat.NDArrayWrapper
    joblib.numpy_pickle_compat.ZNDArrayWrapper joblib.numpy_pickle._unpickle joblib.numpy_pickle.pickle
    joblib.numpy_pickle.Unpickler joblib._utils.eval_expr torch.load torch.save torch.compile
    torch.serialization.load torch.serialization.save torch.serialization._legacy_load
    torch.serialization._load torch._utils._import_dotted_name torch.fx.symbolic_trace torch.classes
    torch.ops.load_library torch._ops.load_library torch.serialization.pickle torch.storage.torch
    torch.from_file torch.serialization.UntypedStorage torch.UntypedStorage.from_file torch.fx._symbolic_trace
    pandas.read_pickle pandas.eval pandas.read_csv pandas.read_sql pandas.read_html pandas.read_json
    pandas.read_hdf pandas.core.frame.DataFrame.eval pandas.core.frame.DataFrame.query
    pandas.core.frame.DataFrame.pipe pandas.core.frame.DataFrame.apply sklearn.utils.estimator_html_repr
    sklearn.utils._pprint sklearn.utils.metaestimators.available_if sklearn.utils.check_estimator
    sklearn.utils.resample sklearn.preprocessing.FunctionTransformer.transform lightgbm.basic._load_lib
    lightgbm.libpath xgboost.libpath xgboost.core._load_lib xgboost.dask xgboost.spark xgboost.tracker
    skops.io.load skops.io.loads yaml.load yaml.unsafe_load yaml.full_load yaml.Loader yaml.UnsafeLoader
    ruamel.yaml h5py.File onnxruntime.InferenceSession onnx.load tensorflow.py_function
    tensorflow.numpy_function tensorflow.load_op_library tensorflow.load_library keras.models.load_model
    keras.saving.load_model keras.layers.Lambda keras.layers.TorchModuleWrapper
    keras.src.layers.core.lambda_layer.Lambda keras.src.utils.file_utils.get_file keras.src.config
    keras.src.saving transformers.pipeline transformers.AutoModel.from_pretrained
    huggingface_hub.hf_hub_download srsly.pickle_loads spacy.load spacy.cli
    statsmodels.iolib.smpickle.load_pickle gensim.utils.unpickle gensim.models.KeyedVectors.load mlflow.pyfunc
    mlflow.projects bokeh.server catboost.core._load
    """
)

# A step of a dotted path by this name leads out of whatever it starts from, or runs what it is given.
STEPS = _words(
    """
    os posix nt sys subprocess builtins importlib runpy pty socket shutil ctypes pickle marshal code pdb
    multiprocessing asyncio threading webbrowser tempfile requests __builtins__ __globals__ __subclasses__
    __import__ __class__ __bases__ __base__ __mro__ __dict__ __code__ __closure__ __func__ __self__ __loader__
    __spec__ __getattribute__ __getattr__ __call__ __reduce__ __reduce_ex__ __init_subclass__ __wrapped__
    __setattr__ __delattr__ __getitem__ __init__ __new__ mro gi_frame cr_frame f_globals f_builtins f_back
    tb_frame func_globals func_code system popen popen2 popen3 popen4 Popen spawn spawnl spawnle spawnlp
    spawnv spawnve spawnvp spawnvpe posix_spawn posix_spawnp execl execle execlp execlpe execv execve execvp
    execvpe fork forkpty startfile check_output check_call getoutput getstatusoutput getstatus exec_command
    run_command run_module run_path run_code runsource runcode runeval runctx runcall runstring run_cprofile
    run_prof run_autograd_prof eval exec execfile import_module load_module exec_module find_module _run_code
    _run_module_code safe_eval rundocs debug_script eval_expr unlink rmtree urlopen urlretrieve load_dynamic
    load_library load_compiled load_source create_dynamic dlopen from_pretrained hub
    """
)
