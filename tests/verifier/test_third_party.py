"""Other people's RFC 6962 accepts our proofs, at many sizes and between all of them (must-show 1).

pymerkle and tamperlog are for this file only. pymerkle's consistency proofs are of a form of its own (they go down to a
leaf beside the old tree), so RFC 6962's go to tamperlog.
"""

from __future__ import annotations

import pytest
import tamperlog.merkle
from pymerkle import InmemoryTree, InvalidProof
from pymerkle.proof import InclusionProof, verify_inclusion
from tamperlog.errors import ProofError

from fintokenx.kernel import merkle
from tests.verifier import bundles

SIZES = [*range(1, 34), 63, 64, 65, 100, 127, 128, 129, 255, 256, 257]
ENTRIES = [f"entry {at}".encode() for at in range(max(SIZES))]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


@pytest.fixture(scope="module")
def theirs() -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for entry in ENTRIES:
        tree.append_entry(entry)
    return tree


def test_their_tree_has_our_hashes(theirs: InmemoryTree) -> None:
    assert [theirs.get_leaf(at + 1) for at in range(len(ENTRIES))] == LEAVES
    for size in SIZES:
        assert theirs.get_root(size) == merkle.root_of(LEAVES[:size]) == bundles.mth(LEAVES[:size])


@pytest.mark.parametrize("size", SIZES)
def test_they_accept_our_inclusion_proofs(theirs: InmemoryTree, size: int) -> None:
    root = merkle.root_of(LEAVES[:size])
    for index in range(size):
        ours = merkle.inclusion_proof(LEAVES[:size], index)
        # Their proof also names the leaf, and on which side each hash stands: they compute that anew and compare.
        rule = theirs.prove_inclusion(index + 1, size).rule
        proof = InclusionProof("sha256", True, size, index + 1, rule, [LEAVES[index], *ours])
        verify_inclusion(LEAVES[index], root, proof, index=index + 1, size=size)
        tamperlog.merkle.verify_inclusion(index, size, LEAVES[index], ours, root)
        if ours:
            with pytest.raises(ProofError):
                tamperlog.merkle.verify_inclusion(index, size, LEAVES[index], [*ours[:-1], bytes(32)], root)
            proof.path = [LEAVES[index], *ours[:-1], bytes(32)]
            with pytest.raises(InvalidProof):
                verify_inclusion(LEAVES[index], root, proof)


@pytest.mark.parametrize("new", SIZES)
def test_they_accept_our_consistency_proofs(new: int) -> None:
    for old in [size for size in SIZES if size < new]:
        ours = merkle.consistency_proof(LEAVES[:new], old)
        assert ours == bundles.consistency(old, LEAVES[:new])
        roots = merkle.root_of(LEAVES[:old]), merkle.root_of(LEAVES[:new])
        tamperlog.merkle.verify_consistency(old, roots[0], new, roots[1], ours)
        with pytest.raises(ProofError):
            tamperlog.merkle.verify_consistency(old, roots[0], new, roots[1], [*ours[:-1], bytes(32)])
