"""Composing the chain of a share from its specification: modules loaded by name, options validated, order checked."""

from collections.abc import Mapping

from lamina.core.plan import ChainLink, ModuleSpec, ShareSpec
from lamina.ntfsa.served import check_extensions
from lamina.vfs_modules.chain import Chain, ShareInfo, build_chain
from lamina.vfs_modules.loader import load_module, vet
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.services.surroundings import Surroundings


def make_module(link: ChainLink) -> VfsModule:
    """The module instance that a link of a chain stands for; raises what the loader or its options raise."""
    spec = link if isinstance(link, ModuleSpec) else ModuleSpec(link)
    if isinstance(spec.module, VfsModule):
        vet(spec.module.title, type(spec.module))
        return spec.module
    kind = load_module(spec.module) if isinstance(spec.module, str) else spec.module
    if not isinstance(spec.module, str):
        vet(kind.name or kind.__qualname__, kind)
    return kind(kind.Options(**spec.options))


def make_chain(
    name: str,
    spec: ShareSpec,
    surroundings: Surroundings | None = None,
    substitutions: Mapping[str, str] | None = None,
) -> Chain:
    """Compose the chain of a share without connecting it. `surroundings`: the server's, where there is one.

    `substitutions`: what the share's path was made with, where it depends on who connects.
    """
    info = ShareInfo(
        name,
        str(spec.path),
        spec.read_only,
        substitutions or {},
        follow_symlinks=spec.follow_symlinks,
        surroundings=surroundings or Surroundings(),
    )
    chain = build_chain([make_module(link) for link in spec.chain], info)
    check_extensions(chain.extensions)
    return chain
