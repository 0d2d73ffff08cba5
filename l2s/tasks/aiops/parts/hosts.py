"""Faulty parts of a host, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "disk_full": parts(
        "[disk/volume/filesystem/file system/partition/mount/mount point/drive/storage/disk space/blocks/free blocks/"
        "free space/storage space/data volume/space] & <exhausted>|{mount} & <exhausted>|[no/zero/0] ~ [blocks/space/"
        "free space/bytes/room/storage/free blocks] … [left/available/free/remaining]|ENOSPC … [on/at] … {mount}",
        "[磁盘/数据盘/盘/卷/分区/文件系统/挂载点/磁盘空间/空间/存储/容量/硬盘] & <exhausted>|{mount} & <exhausted>",
    ),
    "memory_exhausted": parts(
        "[memory/RAM/swap/physical memory/OOM] & <exhausted>|OOM [kill/killer/killed/kills/condition/situation/event]|"
        "[host/system/machine/kernel] OOM|memory [pressure/shortage/starvation]|[killed/kill/shot] ~ [OOM/OOM killer]|"
        "too little [memory/RAM]",
        "[内存/swap/交换分区/交换空间/物理内存] & <exhausted>|OOM|内存[紧张/压力/短缺]|OOM killer",
    ),
    "clock_wrong": parts(
        "[clock/system time/host time/wall clock/local time/system clock] & [off/wrong/drift/drifts/drifted/drifting/"
        "skew/skewed/behind/ahead/slow/fast/out of sync/unsynchronised/unsynchronized/not synchronised/not "
        "synchronized/not in sync/incorrect/inaccurate/wandered/lags/deviates/no longer/desynchronised/desynchronized/"
        "lost]|[time/clock] [skew/drift/deviation/offset error]|time & [drift/drifted/skewed/out of sync/"
        "unsynchronised/unsynchronized/not synchronised/not synchronized/off by]|[NTP/chrony/chronyd/time sync/time "
        "synchronisation/time synchronization/clock sync/clock synchronisation] & [lost/loses/failed/failure/fails/"
        "broken/stopped/stale/missing/unavailable/no source/no sources/no server/no servers/cannot/dead/no upstream/"
        "unsynchronised/unsynchronized]|no [time sync/NTP sync/clock sync/time synchronisation/time synchronization]",
        "[时钟/系统时间/本机时间/主机时间/时间] & [不准/偏差/偏移/漂移/偏离/错误/慢了/快了/落后/超前/没同步/未同步/"
        "不同步/没有同步/失步/没对上/失准/偏慢/偏快/走偏]|[对时/校时/NTP/时间同步/授时/时钟同步/NTP 同步] & [失败/"
        "失效/中断/没有/停止/异常/丢失/断]|chronyd & [没有对上/未同步/没有同步/失去/失败/没有可用]",
    ),
    "disk_failing": parts(
        "[disk/drive/SSD/HDD/hard drive/hard disk/physical disk/storage device/hardware/medium/sectors/{disk}] & "
        "[dying/dies/defective/faulty/damaged/worn/worn out/broken/dead/going bad/on its way out/hardware fault/"
        "hardware failure/hardware error/breaking down/end of life/wearing out/physically failing/media errors/bad "
        "sectors/failing]|[bad/remapped/reallocated/unreadable] [sectors/blocks] & [disk/drive/{disk}]|hardware "
        "[failure/fault] … [disk/drive/device/{disk}]",
        "[盘/磁盘/硬盘/介质/扇区/存储设备/设备/{disk}] & [坏/损坏/坏道/坏块/失效/老化/报废/损毁/硬件故障/硬件问题/"
        "物理故障/寿命]|坏盘|坏道",
    ),
    "conntrack_full": parts(
        "[conntrack/nf_conntrack/connection tracking/connection-tracking/tracking table/netfilter/state table/tracked "
        "connections/flow table/connection table] & <exhausted>|[conntrack/nf_conntrack/connection tracking/tracking "
        "table] & [ceiling/capacity]",
        "[conntrack/nf_conntrack/连接跟踪/连接追踪/跟踪表/netfilter/跟踪表项/会话表] & <exhausted>|[连接跟踪/"
        "conntrack/跟踪表] & 最大值",
    ),
    "descriptors_exhausted": parts(
        "[descriptor/descriptors/file descriptor/file descriptors/fd/fds/file handle/file handles/handles/nofile/open "
        "files/open file/ulimit/LimitNOFILE] & <exhausted>|[descriptor/file descriptor/fd/socket/handle] [leak/"
        "leakage]|[leak/leaks/leaking] & [descriptors/fds/sockets/file descriptors]|every [file descriptor/descriptor/"
        "fd]",
        "[描述符/文件描述符/句柄/文件句柄/fd/打开的文件/打开文件数/文件数/nofile] & <exhausted>|[描述符/句柄/fd/"
        "套接字/socket] & [泄漏/泄露]",
    ),
}
