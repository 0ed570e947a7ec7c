"""What a report calls the groups of benchmarks."""

TITLES = {
    "filter": "The 64-instruction filter",
    "counted": "Filter with hash lookup and count",
    "tcpdump": "An expression beside tcpdump",
    "replay": "Whole replays",
    "reading": "Reading captures",
    "workers": "Workers",
    "examples": "Example programs",
    "maps": "Map operations",
    "dispatch": "One instruction of each class",
    "compile": "Compile time",
    "verify": "Verification",
    "swaps": "Replacing a program under load",
    "startup": "Start-up",
}
