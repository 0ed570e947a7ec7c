from pktfilter._core.c_map cimport pf_map


cdef class MapRef:
    cdef pf_map *ptr

    @staticmethod
    cdef MapRef wrap(pf_map *map)
