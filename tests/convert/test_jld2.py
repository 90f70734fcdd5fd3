"""The JLD2 reader against files written byte by byte as Julia's package does."""

import struct

import numpy as np
import pytest
from jld2_writer import BASE, Jld2Writer, Tree, repaired

from synapse_engine.convert.errors import DamagedFileError, UnsupportedError
from synapse_engine.convert.jld2 import Jld2File, flatten
from synapse_engine.convert.jld2.lookup3 import lookup3


def read(file: bytes, name: str = "parameters") -> dict[str, np.ndarray]:
    return flatten(Jld2File(file, "some.jld2"), name)


def tree(dtype: str = "<f4", layers: int = 2) -> Tree:
    counter = iter(range(1000))
    blocks = {
        f"block_{k + 1}": {
            "w": np.arange(6, dtype=dtype).reshape(2, 3) + next(counter),
            "inner": {"cube": np.arange(24, dtype=dtype).reshape(2, 3, 4), "one": np.array(next(counter), "<i8")},
        }
        for k in range(layers)
    }
    return {"top": np.arange(5, dtype=dtype), "blocks": blocks}


def flat(value: Tree, prefix: str = "") -> dict[str, np.ndarray]:
    leaves = {}
    for key, below in value.items():
        leaves |= flat(below, f"{prefix}{key}.") if isinstance(below, dict) else {f"{prefix}{key}": below}
    return leaves


@pytest.mark.parametrize(
    ("text", "hash_"),
    # The published test values of lookup3.c.
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)],
)
def test_lookup3(text: bytes, hash_: int) -> None:
    assert lookup3(text) == hash_


@pytest.mark.parametrize("nibble", [0, 3])
@pytest.mark.parametrize("inline_limit", [0, 60, 1024])
@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_reads_what_was_written(nibble: int, inline_limit: int, committed: bool, dtype: str) -> None:
    wanted = flat(tree(dtype))
    writer = Jld2Writer(nibble, inline_limit, committed)
    found = read(writer.file({"step": np.array(7, "<i8"), "parameters": tree(dtype), "loss": np.array(1.5)}))
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_releases_tree_is_one_inline_struct_and_a_larger_one_is_not() -> None:
    """82 arrays are 656 bytes of references; 8 heads in 6 layers make 1,152 bytes, and ``blocks`` a reference."""
    leaf = np.zeros(1, "<f4")
    names = ["conv", "L1", "L2", "long", "gate", "w1", "w2", "v", "ln1", "ln2"]
    release = {
        "emb": leaf, "blocks": {f"block_{k}": dict.fromkeys(names, leaf) for k in range(8)}, "ln_f": leaf
    }  # fmt: skip
    large = {"blocks": {f"block_{k}": {f"n{i}": leaf for i in range(24)} for k in range(6)}}
    for value, leaves, structs in ((release, 82, 1), (large, 144, 2)):
        writer = Jld2Writer()
        assert len(read(writer.file({"parameters": value}))) == leaves
        assert len(writer.headers) == leaves + 2 * structs + 3  # with types; and the group, its rest, the superblock


def test_scalars_groups_and_names() -> None:
    file = Jld2File(Jld2Writer().file({"step": np.array(12_305, "<i8"), "größe": np.array(0.5)}), "x")
    assert list(file.names) == ["step", "größe"]
    assert flatten(file, "step")[""].item() == 12_305
    assert flatten(file, "größe")[""].item() == 0.5
    with pytest.raises(DamagedFileError, match="no entry 'parameters', only größe, step"):
        flatten(file, "parameters")


def test_every_truncation_is_an_error() -> None:
    whole = Jld2Writer().file({"parameters": tree()})
    for length in range(len(whole)):
        with pytest.raises(DamagedFileError):
            read(whole[:length])


def test_a_flipped_bit_in_a_header_is_an_error() -> None:
    writer = Jld2Writer()
    whole = writer.file({"parameters": tree()})
    for start, length in writer.headers:
        for place in range(start, start + length):
            broken = bytearray(whole)
            broken[place] ^= 1 << place % 8
            with pytest.raises(DamagedFileError):
                read(bytes(broken))


def hostile(find: bytes, replacement: bytes, value: Tree | None = None) -> bytes:
    """A file with right checksums in which ``find``, which occurs once, is replaced."""
    writer = Jld2Writer()
    whole = writer.file({"parameters": value or {"a": np.arange(3, dtype="<f4")}})
    assert whole.count(find) == 1
    assert len(find) == len(replacement)
    return repaired(whole.replace(find, replacement), writer.headers)


SPACE = struct.pack("<BBBBQ", 2, 1, 0, 1, 3)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (hostile(SPACE, struct.pack("<BBBBQ", 2, 1, 0, 1, 2**62)), "bytes where its shape asks for"),
        (hostile(SPACE, struct.pack("<BBBBQ", 2, 1, 0, 1, 4)), "12 bytes where its shape asks for 16"),
        (hostile(SPACE, struct.pack("<BBBBQ", 2, 200, 0, 1, 3)), "dataspace"),
        (hostile(struct.pack("<BBQQ", 4, 1, 48, 12), struct.pack("<BBQQ", 4, 1, 2**63, 12)), "outside the file"),
        (hostile(struct.pack("<BBQQ", 4, 1, 48, 12), struct.pack("<BBQQ", 4, 1, 48, 2**60)), "outside the file"),
        (hostile(b"\x36\x01\x00\x00", b"\x36\xff\xff\x00"), "name of a field does not end"),
    ],
)
def test_hostile_sizes(file: bytes, says: str) -> None:
    with pytest.raises(DamagedFileError, match=says):
        read(file)


def test_chunked_data_is_refused_by_name() -> None:
    layout = struct.pack("<BBQQ", 4, 1, 48, 12)
    with pytest.raises(UnsupportedError, match="chunks") as caught:
        read(hostile(layout, b"\x04\x02" + layout[2:]))
    assert "without compression" in (caught.value.hint or "")


def test_unusual_numbers_are_not_misread() -> None:
    """bfloat16 has the size of float16; its properties tell them apart."""
    half = {"a": np.arange(3, dtype="<f2")}
    ieee, bfloat = struct.pack("<BBBBI", 10, 5, 0, 10, 15), struct.pack("<BBBBI", 7, 8, 0, 7, 127)
    assert read(hostile(ieee, ieee, half)).keys() == {"a"}
    with pytest.raises(UnsupportedError, match="`a` is a floating-point number that is not IEEE"):
        read(hostile(ieee, bfloat, half))


def test_a_circle_of_references_ends() -> None:
    """The array's reference is bent to the struct that holds it."""
    writer = Jld2Writer()
    whole = writer.file({"parameters": {"a": {"b": np.zeros(2, "<f4")}}})
    struct_at = next(start for start, length in writer.headers if _compact_at(whole, start, length)) - BASE
    array_at = writer.headers[0][0] - BASE
    bent = whole.replace(struct.pack("<BBHQ", 4, 0, 8, array_at), struct.pack("<BBHQ", 4, 0, 8, struct_at))
    assert bent != whole
    with pytest.raises(DamagedFileError, match="refers to itself"):
        read(repaired(bent, writer.headers))


def _compact_at(file: bytes, start: int, length: int) -> bool:
    return b"\x04\x00\x08\x00" in file[start : start + length]


def test_a_header_that_continues_in_itself_ends() -> None:
    writer = Jld2Writer()
    whole = writer.file({"parameters": tree()})
    rest_at, rest_length = writer.headers[-3]
    assert whole[rest_at : rest_at + 4] == b"OCHK"
    root_at = writer.headers[-2][0]
    go_on = struct.pack("<QQ", rest_at - BASE, rest_length)
    for start in (root_at - BASE, rest_at - BASE):
        bent = bytearray(whole)
        if start == root_at - BASE:
            bent = bytearray(whole.replace(go_on, struct.pack("<QQ", start, rest_length)))
        else:
            # The rest's first message, a link, becomes a continuation that leads back to the rest.
            bent[rest_at + 4 : rest_at + 24] = struct.pack("<BHBQQ", 16, 16, 0, start, rest_length)
        with pytest.raises(DamagedFileError, match="circle"):
            read(repaired(bytes(bent), writer.headers))


@pytest.mark.parametrize("nothing", [{}, {"empty": {}}])
def test_groups_of_groups_end(nothing: Tree) -> None:
    """Sixteen groups, each with forty links to the next: 40^16 ways through a file of some kilobytes."""
    writer = Jld2Writer()
    address = writer._object(np.zeros(1, "<f4"), "leaf") if nothing else writer._group({})
    for _ in range(14):
        address = writer._group({f"n{i}": address for i in range(40)})
    writer._object = lambda value, name: address
    whole = writer.file({"parameters": np.zeros(1, "<f4")})
    assert len(whole) < 30_000
    with pytest.raises(DamagedFileError, match=r"more than 100000 things|more than the file holds"):
        read(whole)


def test_names_are_short() -> None:
    with pytest.raises(DamagedFileError, match="name of a field does not end"):
        read(Jld2Writer().file({"parameters": {"a" * 256: np.zeros(1, "<f4")}}))
    assert read(Jld2Writer().file({"parameters": {"a" * 255: np.zeros(1, "<f4")}}))


def test_one_array_cannot_be_many_leaves() -> None:
    """Each reference names the one large array; all of them together would be larger than the file."""
    writer = Jld2Writer()
    arrays = {"large": np.zeros(1000, "<f4")} | {f"n{i}": np.zeros(1, "<f4") for i in range(49)}
    whole = writer.file({"parameters": arrays})
    references = whole.rindex(struct.pack("<BBH", 4, 0, 400)) + 4
    bent = bytearray(whole)
    bent[references : references + 400] = whole[references : references + 8] * 50
    assert len(read(whole)) == 50
    with pytest.raises(DamagedFileError, match="claim more than the file holds"):
        read(repaired(bytes(bent), writer.headers))
