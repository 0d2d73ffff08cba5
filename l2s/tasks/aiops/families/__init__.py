"""The benchmark's tables: six styles of log, each with its faults, everyday entries and false alarms."""

from l2s.tasks.aiops.families import database, java, kubernetes, nginx, services, syslog

STYLES = (syslog.STYLE, services.STYLE, nginx.STYLE, java.STYLE, kubernetes.STYLE, database.STYLE)
