"""Files that are no delimited text, told by how they begin, and what to do with them instead.

The names of files say little: a Feather file is called table.parquet, an Excel file table.csv.
"""

import re

_FRAME = "read it with pandas.{} and save it with to_parquet or to_csv"
_UNPACK = "is compressed by {}; unpack it first"

_BEGINNINGS = (
    (b"PARE", "is an encrypted Parquet file; save it without encryption"),
    (b"\xd0\xcf\x11\xe0", "is an Excel file; save the table as CSV"),
    (b"ARROW1", f"is a Feather file; {_FRAME.format('read_feather')}"),
    (b"FEA1", f"is a Feather file of the first version; {_FRAME.format('read_feather')}"),
    (
        b"\xff\xff\xff\xff",
        "is an Arrow stream; read it with pyarrow.ipc.open_stream and save it with pyarrow.parquet.write_table",
    ),
    (b"ORC", f"is an ORC file; {_FRAME.format('read_orc')}"),
    (b"\x89HDF", f"is an HDF5 file; {_FRAME.format('read_hdf')}"),
    (b"SQLite format 3", "is an SQLite database; export the table as CSV"),
    (b"\x93NUMPY", "is a NumPy array; save it with numpy.savetxt"),
    (b"Obj\x01", "is an Avro file; save the table as CSV"),
    (b"RDX", "is a file of R; save the table with write.csv"),
    (b"<stata_dta>", f"is a Stata file; {_FRAME.format('read_stata')}"),
    (b"$FL2", f"is an SPSS file; {_FRAME.format('read_spss')}"),
    (b"\xfd7zXZ", _UNPACK.format("xz")),
    (b"\x28\xb5\x2f\xfd", _UNPACK.format("zstd")),
    (b"\x04\x22\x4d\x18", _UNPACK.format("lz4")),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"%PDF-", "is a PDF document; save the table as CSV"),
    (b"\x89PNG", "is a picture; save the table as CSV"),
    (b"\xff\xd8\xff", "is a picture; save the table as CSV"),
)
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P)")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_TEXTS = (
    (re.compile(rb'\s*(?:\{\s*"[^"]*"\s*:|\[\s*[\[{])'), f"is a JSON file; {_FRAME.format('read_json')}"),
    (re.compile(rb"\s*<(?:!doctype html|html)", re.IGNORECASE), "is a web page; download the file itself, and give its path"),
    (re.compile(rb"\s*<\?xml"), "is an XML file; save the table as CSV"),
    (
        re.compile(rb"(?:[ \t]*(?:%[^\r\n]*)?\r?\n)*[ \t]*@relation\s", re.IGNORECASE),
        "is an ARFF file; read it with scipy.io.arff.loadarff and save the table as CSV",
    ),
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def foreign(block: bytes) -> str:
    """What a file is that begins with these bytes, and what to do; an empty text where it may be delimited text."""
    if block.startswith(b"PK\x03\x04"):
        return _archive(block)
    if block[257:262] == b"ustar":
        return "is a tar archive; unpack it first"
    binary = b"\0" in block
    if block.startswith(b"PAR1") and binary:  # PAR1 may also be the name of a column, as may ORC
        return "is a Parquet file; type dataset=parquet"
    if _PICKLE.match(block) and binary:
        return "is a pickle, which may run code and is not opened; save the table as CSV"
    if _BZIP2.match(block):
        return _UNPACK.format("bzip2")
    for beginning, message in _BEGINNINGS:
        if block.startswith(beginning) and (binary or not beginning.isalnum()):
            return message
    text = block.removeprefix(_BYTE_ORDER_MARK)
    return next((message for form, message in _TEXTS if form.match(text)), "")


def _archive(block: bytes) -> str:
    """What a zip archive is: many kinds of documents are such archives."""
    if b"vnd.oasis.opendocument" in block:
        return "is an OpenDocument file; save the table as CSV"
    if b".npy" in block:
        return "is an archive of NumPy arrays; save one of them with numpy.savetxt"
    if b"xl/" in block or b"[Content_Types].xml" in block:
        return "is an Excel file; save the table as CSV"
    return "is a zip archive; unpack it first"
