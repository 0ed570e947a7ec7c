"""The compiled tier: bytecode to LLVM IR to native code, and the cache of what came of it."""
