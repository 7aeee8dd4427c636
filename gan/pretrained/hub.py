"""The Hugging Face hub: download and upload of a generator's folder (extra `gan[hub]`)."""

import re
from pathlib import Path
from types import ModuleType

from gan.checkpoint import BadCheckpoint
from gan.files import read_json
from gan.pretrained.shipped import CONFIG, DISCRIMINATOR, MODEL

_PART = r"[A-Za-z0-9][\w-]*(\.[\w-]+)*"
_NAME = re.compile(f"{_PART}/{_PART}", re.ASCII)


def is_hub_name(name: str) -> bool:
    """Tells whether a name is OWNER/NAME; one whose OWNER is a folder here is a mistyped path."""
    return bool(_NAME.fullmatch(name)) and len(name) <= 96 and not Path(name).parent.exists()


def download(name: str) -> Path:
    """Returns the folder of the hub's local cache with the files of a generator.

    Raises BadCheckpoint if they cannot be downloaded, such as without a network.
    """
    try:
        hub = require(name)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{error}; and there is no such file or run") from None
    try:
        files = [hub.hf_hub_download(name, file) for file in (CONFIG, MODEL)]
        values = read_json(Path(files[0]))
        if isinstance(values, dict) and "discriminator_sha256" in values:
            hub.hf_hub_download(name, DISCRIMINATOR)
    except Exception as error:  # of the library and of the HTTP client below it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadCheckpoint(
            f"{name}: no such file or run, and it cannot be downloaded from the hub ({reason:.300})"
        ) from None
    return Path(files[0]).parent


def upload(hub: ModuleType, folder: Path, name: str) -> str:
    """Creates the repository OWNER/NAME if needed and uploads a folder; returns its address.

    `hub` is the library that `require` returns.
    """
    hub.create_repo(name, exist_ok=True)
    return str(hub.upload_folder(repo_id=name, folder_path=folder))


def require(name: str) -> ModuleType:
    """Returns the hub's library. Raises ValueError if the name has not the form OWNER/NAME,
    BadCheckpoint without the library."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a name on the hub has the form OWNER/NAME; got {name!r:.120}")
    try:
        import huggingface_hub
    except ImportError:
        raise BadCheckpoint(
            f"{name}: a name on the Hugging Face hub needs pip install 'gan[hub]'"
        ) from None
    return huggingface_hub
