"""Causes of trouble on hosts."""

from l2s.tasks.aiops.records import Phrases, say

CAUSES: dict[str, Phrases] = {
    "disk_full": say(
        "the disk is full|disk full|full disk|filesystem full|full filesystem|filesystem is full|volume is full|"
        "partition is full|full partition|disk filled up|out of disk space|disk space exhausted|disk space "
        "exhaustion|no disk space|lack of disk space|insufficient disk space|[disk/filesystem/file system/volume/"
        "partition/mount point/storage] ~ [full/filled up/fills up/exhausted]|full [storage/file system/volume]|out "
        "of [space/storage]|no [space left/free space/free disk space/space available/available space/space]|disk "
        "space ~ exhausted|disk space ran out|[lack of/insufficient/not enough] [space/storage]|not enough disk "
        "space|disk exhaustion|storage exhaustion|[disk/filesystem/storage/volume] ~ at capacity",
        "磁盘已满|磁盘写满|磁盘满|磁盘空间耗尽|磁盘空间不足|分区已满|文件系统已满|没有磁盘空间|[磁盘/硬盘/分区/"
        "文件系统/存储/磁盘空间]~满|[磁盘空间/磁盘/存储空间/文件系统/分区]~[耗尽/不足/用尽/用完/爆满]|没有[剩余/可用/"
        "空闲]空间|无[剩余/可用]空间|硬盘空间不足",
    ),
    "memory_exhausted": say(
        "the host ran out of memory|ran out of memory|out of memory|out-of-memory|OOM|memory exhaustion|memory "
        "exhausted|exhausted memory|insufficient memory|lack of memory|not enough memory|memory ~ [exhausted/full/"
        "used up]|exhausted ~ memory|[insufficient/lack of/not enough/out of/ran out of/no free/low] RAM|no [memory "
        "left/free memory/available memory/memory available]|memory [shortage/pressure/starvation/ran out]|low on "
        "memory|starved of memory",
        "主机内存耗尽|内存耗尽|内存不足|内存用尽|内存溢出|内存~[耗尽/用尽/用完/不足/不够/已满]|内存[吃紧/短缺/压力/"
        "空间不足/紧张]|没有[可用/空闲]内存",
    ),
    "clock_wrong": say(
        "the system clock is wrong|clock skew|clock drift|time drift|time skew|clock is wrong|wrong clock|clock out "
        "of sync|time synchronization failure|clock not synchronized|incorrect system time|[clock/time] offset|"
        "[clock/system time] ~ [wrong/off/drifted/drifting/skewed/incorrect/inaccurate/out of sync/not synchronized/"
        "not synchronised/unsynchronized/unsynchronised/behind/ahead/not in sync]|time ~ out of sync|[unsynchronized/"
        "unsynchronised/inaccurate/skewed/drifting/drifted/incorrect] clock|out-of-sync clock|[time/NTP/clock] "
        "[synchronization/synchronisation/sync] [failure/loss/problem/issue]|[lost/loss of/no/missing] [time/NTP/"
        "clock] [synchronization/synchronisation/sync]|[time/NTP] [synchronization/synchronisation/sync] ~ [failed/"
        "lost/broken/stopped]|NTP failure|NTP ~ [failed/lost/out of sync]|wrong system time|incorrect time|system "
        "time ~ wrong",
        "系统时钟错误|时钟漂移|时钟偏移|时钟不同步|时间不同步|系统时间错误|时间同步失败|时钟~[错误/不准/偏差/偏移/"
        "漂移/偏离/未同步/失步/不同步/不一致]|时间[漂移/偏移/偏差/不准/不一致/失步]|系统时间~[错误/不准/偏差/偏移/"
        "不同步/不正确]|[时间/NTP/时钟]~同步[失败/失效/异常/丢失/中断]|时间~未同步|NTP~失败|时钟不准",
    ),
    "disk_failing": say(
        "a failing disk|failing disk|disk failure|disk is failing|failing drive|drive failure|bad sectors|bad disk|"
        "faulty disk|dying disk|defective disk|disk hardware failure|[disk/drive/SSD/hard disk] ~ [failing/failed/"
        "faulty/defective/dying/broken/damaged/dead/going bad]|[failing/failed/faulty/bad/dying/broken/damaged/"
        "defective/dead/degraded] [disk/drive/SSD/hard disk/hard drive/storage device]|bad blocks|[disk/drive] "
        "hardware [fault/problem/error]|[drive/SSD] [failure/defect]|disk defect|hardware failure|hardware fault|"
        "failing hardware|media failure",
        "磁盘硬件故障|磁盘故障|硬盘故障|磁盘损坏|硬盘损坏|磁盘坏道|坏扇区|[磁盘/硬盘/固态硬盘/SSD]~[故障/损坏/失效/"
        "坏了/老化]|[坏道/坏块/坏盘/硬件故障]|[损坏/故障/失效]的[磁盘/硬盘]",
    ),
    "conntrack_full": say(
        "the connection tracking table is full|connection tracking table is full|connection tracking table full|"
        "conntrack table is full|conntrack table full|full conntrack table|conntrack exhaustion|conntrack exhausted|"
        "conntrack limit|[connection tracking table/conntrack table/connection tracking/conntrack/connection table/"
        "state table/netfilter table] ~ [full/exhausted/overflowing/overflowed/saturated/at its maximum/at its limit/"
        "at the limit/at maximum/used up/at capacity]|[connection tracking table/conntrack table/connection tracking/"
        "conntrack] [exhaustion/overflow/saturation/limit]|full [connection tracking/state/netfilter] table|"
        "[exhausted/saturated] [connection tracking table/conntrack table]|connection tracking entries ~ exhausted|"
        "[connection tracking/conntrack] ~ [limit/maximum] reached|[reached/hit/exceeded] ~ [conntrack/connection "
        "tracking] [limit/maximum]",
        "连接跟踪表已满|连接跟踪表满|连接跟踪表耗尽|conntrack 表已满|conntrack 表满|conntrack 耗尽|[连接跟踪表/"
        "连接跟踪/连接追踪表/连接追踪/conntrack 表/conntrack]~[满/耗尽/溢出/上限/用尽/占满]",
    ),
    "descriptors_exhausted": say(
        "the process ran out of file descriptors|ran out of file descriptors|out of file descriptors|file descriptor "
        "exhaustion|file descriptors exhausted|file descriptor limit|file descriptor leak|too many open files|open "
        "file limit|fd exhaustion|fd limit|[file descriptors/file descriptor/descriptors/fds/file handles/open "
        "files] ~ [exhausted/used up/ran out/at the limit/limit reached]|[exhausted/exhausts/exhausting] ~ [file "
        "descriptors/descriptors/file handles]|[file descriptor/descriptor/file handle/fd/socket] [exhaustion/leak/"
        "shortage/limit]|[leaked/leaking/leaks/leak of] [file descriptors/file handles/sockets/fds/descriptors]|no "
        "[more/free/available] [file descriptors/descriptors/file handles]|no file descriptors left|out of "
        "[descriptors/fds/file handles]|too many [file descriptors/open sockets/open descriptors/open file/open file "
        "descriptors]|[open files/open-file] limit|[limit of/limit on/limit for/maximum number of/maximum] [open "
        "files/file descriptors]",
        "文件描述符耗尽|文件描述符用尽|文件描述符不足|文件描述符泄漏|打开文件数过多|文件句柄耗尽|句柄泄漏|"
        "[文件描述符/描述符/文件句柄/句柄/fd]~[耗尽/用尽/用完/不足/泄漏/泄露/上限/超限/已满]|打开[的文件/文件/文件数/"
        "的文件数]~[过多/上限/超限]|套接字泄漏|套接字泄露",
    ),
    "intrusion": say(
        "an intrusion|intrusion|brute force|brute-force|break-in|attacker|hacked|compromised|security breach",
        "入侵|暴力破解|攻击者|被攻破|黑客",
    ),
    "network_down": say(
        "a network outage|network outage|network failure|network problem|network issue|network partition|"
        "network connectivity|packet loss|switch failure",
        "网络中断|网络故障|网络问题|网络分区|网络不通|丢包",
    ),
}
