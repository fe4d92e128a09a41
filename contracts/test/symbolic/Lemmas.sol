// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The cheatcodes of halmos that these lemmas use. An unbound argument of a check_ function is any value.
interface Svm {
    function enableSymbolicStorage(address account) external;
    function createCalldata(string calldata contractName) external view returns (bytes memory);
}

interface VmAssume {
    function assume(bool condition) external pure;
    function prank(address sender) external;
}

/// @notice What the lemmas share. A lemma speaks of any storage that the contract could have, but for what its
/// constructor wrote, and not of a state that a test has built: what it shows holds after any history. It is refuted by
/// an assert that can fail. A check_witness_ must be refuted, or a lemma beside it might speak of nothing.
abstract contract Lemmas {
    VmAssume internal constant vm = VmAssume(address(uint160(uint256(keccak256("hevm cheat code")))));
    Svm internal constant svm = Svm(address(uint160(uint256(keccak256("svm cheat code")))));

    function call(address caller, address target, bytes memory data) internal returns (bool success) {
        vm.prank(caller);
        (success,) = target.call(data);
    }

    function among(bytes4 selector, bytes4[] memory list) internal pure returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == selector) return true;
        }
        return false;
    }
}
