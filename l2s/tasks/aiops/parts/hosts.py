"""Faulty parts of a host, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "disk_full": parts(
        "[disk/volume/filesystem/file system/partition/mount/mount point/drive/storage/disk space/block/space] & "
        "<exhausted>|{mount} & <exhausted>|{mount} & [no/zero] & [block/space/byte/room/headroom]|[no/zero/0/not a] … "
        "[block/space/byte/room/storage/free block/headroom] … [left/available/free/remaining]|ENOSPC … [on/at] … "
        "{mount}|nowhere [to write/left to write]",
        "[磁盘/盘/卷/分区/文件系统/挂载点/空间/存储/容量] & <exhausted>|{mount} & <exhausted>|{mount} & [没有/没/无] & "
        "空间|[没有/没/无]…空间|使用率~100%",
    ),
    "memory_exhausted": parts(
        "[memory/RAM/swap/OOM/free page] & <exhausted>|OOM [kill/killer/killed/kills/condition/situation/event]|"
        "[host/system/machine/kernel] OOM|memory [pressure/shortage/starvation]|[killed/kill/shot] ~ [OOM/OOM killer]|"
        "[memory/RAM/footprint] & [outgrow/outgrew/balloon/more than/larger than/too much/exceed] & [host/machine/box/"
        "server/{host}/system]|[host/machine/box/kernel/system/{host}] & no & [memory/RAM]|{svc} & [outgrow/outgrew] & "
        "[host/machine/RAM/memory]",
        "[内存/swap/交换分区/交换空间] & <exhausted>|OOM|内存[紧张/压力/短缺]|[没/没有/无/缺]~内存|内存 & [挤/吞/顶]",
    ),
    "clock_wrong": parts(
        "[clock/system time/host time/local time/time on/time/time of] & [off/wrong/drift/skew/behind/ahead/slow/fast/"
        "out of sync/out of step/unsynchronised/unsynchronized/unsynced/not synchronised/not synchronized/not in sync/"
        "not synced/incorrect/inaccurate/wander/lag/deviate/no longer/desynchronised/desynchronized/lost/adrift/not "
        "disciplined/undisciplined/not set/not corrected/stray/earlier than/later than/slip/slide/slid/not agree/"
        "disagree]|[time/clock] [skew/drift/deviation/offset error]|clock & out|[unsynced/undisciplined/drifting] "
        "clock|[server/host/machine/{host}] & [behind/in the past/earlier/later/out of sync/off by/out by]|[NTP/"
        "chrony/chronyd/time sync/time synchronisation/time synchronization/clock sync/clock synchronisation] & [lost/"
        "lose/fail/failure/broken/broke/stop/stale/missing/unavailable/no source/no server/no usable/not reach/dead/"
        "no upstream/unsynchronised/unsynchronized/not working/out of sync/down/without]|no [time sync/NTP sync/clock "
        "sync/time synchronisation/time synchronization]",
        "[时钟/时间/钟/{host}/本机/主机] & [不准/不正确/偏/漂/错误/不对/没对/没有对/慢/快了/走快/落后/滞后/超前/"
        "没同步/未同步/不同步/没有同步/失步/失准/误差/没校准/未校准/没有校准/未校正/没校/未对时/跑飞/差了/差 {secs}/"
        "相差]|[对时/校时/NTP/时间同步/授时/时钟同步/时间源/同步源] & [失败/失效/中断/没有/停/异常/丢/断/失联/不可用/"
        "没了/不通/挂/失步]|[没有/没/无/缺]~[对时/校时/时间源/可用时间源/可用的时间源]|chronyd & [没有/没/无/未同步/"
        "失去/失败/丢]",
    ),
    "disk_failing": parts(
        "[disk/drive/SSD/HDD/hard drive/hard disk/storage device/hardware/medium/media/sector/{disk}/device] & [die/"
        "dying/defective/defect/faulty/damage/worn/wear out/wear/broken/dead/go bad/going bad/gone bad/went bad/on "
        "its way out/last legs/hardware fault/hardware failure/hardware error/hardware trouble/break down/end of life/"
        "physically/media error/bad sector/bad block/fail/failure/malfunction/toast/unreadable/not read/no longer "
        "read/unhealthy/give up/giving out/degrade/rot/decay/bad]|[bad/remapped/reallocated/unreadable] [sectors/"
        "blocks] & [disk/drive/{disk}]|[hardware/physical] [failure/fault] … [disk/drive/device/{disk}]",
        "[盘/介质/扇区/存储设备/设备/{disk}] & [坏/损/失效/老化/报废/硬件/物理故障/寿命/寿终/故障/挂/读不出/出错/"
        "不行了/失灵/磨损]|坏盘|坏道",
    ),
    "conntrack_full": parts(
        "[conntrack/nf_conntrack/connection tracking/connection-tracking/tracking table/netfilter/state table/tracked "
        "connections/flow table/connection table/nf_conntrack_max] & <exhausted>|[conntrack/nf_conntrack/connection "
        "tracking/tracking table] & [capacity/maxed/at {tracked}/of {tracked}]|[nf_conntrack_max/conntrack_max] & "
        "[hit/reach/exceed]|[not/cannot] & [track/hold] & [connection/flow/more/new]",
        "[conntrack/nf_conntrack/连接跟踪/连接追踪/跟踪表/跟踪连接/跟踪条目/netfilter/会话表/连接表/conntrack_max] & "
        "<exhausted>|[连接跟踪/conntrack/跟踪表/跟踪连接] & 最大",
    ),
    "descriptors_exhausted": parts(
        "[descriptor/file descriptor/fd/fds/file handle/handle/nofile/open files/open file/open-file/ulimit/"
        "LimitNOFILE/file limit] & <exhausted>|[nofile/ulimit/LimitNOFILE/open-file limit/file limit/fd limit/fd cap] "
        "& [hit/reach/exceed/exceeded/cap/ceiling/at]|[descriptor/file descriptor/fd/socket/handle/file] [leak/"
        "leakage]|leak & [descriptor/fd/socket/file]|all … [descriptors/file descriptors/fds/handles] & [used/in use/"
        "open/taken]|[every/any more/its] [file descriptor/descriptor/fd]|[not/cannot/no more] … open … [more/further/"
        "another] … [file/socket/descriptor]|[can/may/could] open no more|can open no more … [file/socket/descriptor]",
        "[描述符/句柄/fd/打开的文件/打开文件/文件数/nofile/打开文件数] & <exhausted>|[描述符/句柄/fd/套接字/socket] & "
        "[泄漏/泄露]|[文件/fd/句柄/socket/套接字] & [开太多/太多/过多/没关/未关闭/不关]",
    ),
}
