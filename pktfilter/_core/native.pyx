"""What generated code knows of the core's structs (csrc/native/layout.def)."""
from pktfilter._core.c_native cimport pf_native_layout_count, pf_native_layouts

#: Offset of "struct.field", "sizeof.struct", and constants of the core, by name.
LAYOUT = {(<bytes>pf_native_layouts[i].name).decode(): pf_native_layouts[i].value for i in range(pf_native_layout_count)}
