"""Checks of what a chain does with quotas. They change the limits of two numbers that nobody is likely to have."""

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.quotas import Quota, QuotaKind
from lamina.vfs_modules.testing.hand import check, hand_of
from lamina.vfs_modules.token import ImpersonationToken

_NUMBERS = (0x7FFF_F001, 0x7FFF_F002)
_MIB = 1 << 20


@check(Capability.QUOTAS)
def limits_are_kept_and_listed_in_order(chain: Chain, token: ImpersonationToken) -> None:
    """For users and groups apart; what nobody has set is no limit."""
    with hand_of(chain, token) as hand:
        first, second = _NUMBERS
        for kind in QuotaKind:
            assert chain.get_quota(token, hand.root, kind, second) == Quota(kind, second, 0)
            chain.set_quota(token, hand.root, Quota(kind, second, 0, _MIB, 2 * _MIB))
            chain.set_quota(token, hand.root, Quota(kind, first, 0, None, _MIB))
            assert chain.get_quota(token, hand.root, kind, second) == Quota(kind, second, 0, _MIB, 2 * _MIB)
            listed = chain.list_quotas(token, hand.root, kind, first, 10)
            assert [quota.number for quota in listed[:2]] == [first, second]
            assert chain.list_quotas(token, hand.root, kind, first + 1, 1) == [Quota(kind, second, 0, _MIB, 2 * _MIB)]
        for kind in QuotaKind:
            for number in _NUMBERS:
                chain.set_quota(token, hand.root, Quota(kind, number, 0))
                assert chain.get_quota(token, hand.root, kind, number) == Quota(kind, number, 0)
