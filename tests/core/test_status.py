"""What a server tells of itself, as text and for a monitoring system."""

from lamina.core.status import as_metrics, as_text

SHOWN = {
    "version": "0.1.0",
    "uptime": 93_784.2,
    "connections": 1,
    "sessions": 2,
    "waiting": 3,
    "shares": [
        {
            "name": 'da"ta',
            "path": "/srv/data",
            "clients": 2,
            "opens": 1,
            "modules": [
                {
                    "name": "scan-er#2",
                    "health": "degraded",
                    "reason": "clamd is slow",
                    "since": 5.0,
                    "metrics": [
                        {"name": "scans", "kind": "counter", "about": "files scanned", "value": 12},
                        {
                            "name": "seconds",
                            "kind": "histogram",
                            "about": "time of a scan",
                            "value": 0.5,
                            "count": 4,
                            "buckets": [[0.1, 3], [None, 4]],
                        },
                    ],
                },
                {"name": "posix", "health": "ok", "reason": "", "since": None, "metrics": []},
            ],
        }
    ],
}


def test_people_see_each_module_with_its_reason_and_numbers():
    assert [" ".join(line.split()) for line in as_text(SHOWN)] == [
        "lamina 0.1.0, up 1 d 02:03:04, 1 connection, 2 sessions, 3 open files without a client",
        "",
        'share da"ta /srv/data 2 clients, 1 open file',
        "scan-er#2 degraded: clamd is slow",
        "scans 12 files scanned",
        "seconds 4 × 0.125 time of a scan",
        "posix ok",
    ]


def test_a_monitoring_system_reads_health_and_metrics():
    labels = 'share="da\\"ta",module="scan-er#2"'
    assert list(as_metrics(SHOWN)) == [
        "# HELP lamina_up_seconds Seconds that the server has been running",
        "# TYPE lamina_up_seconds gauge",
        "lamina_up_seconds 93784.2",
        "# HELP lamina_module_health How a module is: 0 ok, 1 degraded, 2 failed",
        "# TYPE lamina_module_health gauge",
        f"lamina_module_health{{{labels}}} 1",
        'lamina_module_health{share="da\\"ta",module="posix"} 0',
        "# HELP lamina_scan_er_scans files scanned",
        "# TYPE lamina_scan_er_scans counter",
        f"lamina_scan_er_scans{{{labels}}} 12",
        "# HELP lamina_scan_er_seconds time of a scan",
        "# TYPE lamina_scan_er_seconds histogram",
        f'lamina_scan_er_seconds_bucket{{{labels},le="0.1"}} 3',
        f'lamina_scan_er_seconds_bucket{{{labels},le="+Inf"}} 4',
        f"lamina_scan_er_seconds_sum{{{labels}}} 0.5",
        f"lamina_scan_er_seconds_count{{{labels}}} 4",
    ]
