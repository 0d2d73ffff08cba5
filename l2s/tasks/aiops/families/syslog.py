"""Hosts: faults that show in syslog."""

from l2s.tasks.aiops.records import Family, Harmless, RedHerring, Style, error, info, say, warn

SERVICE = say("{svc}", "{svc}")

FAMILIES = (
    Family(
        cause="disk_full",
        component=say("{mount} on {host}|{mount}", "{host} 的 {mount}|{mount}"),
        evidence=(
            say(
                "usage of {mount} at 100%|100%|errno 28|ENOSPC|avail=0|avail 0|0 bytes available|nothing available|no "
                "space left on device|write errors|error 28|100 percent|100% used|use 100%",
                "{mount} 使用率达到 100%|100%|errno 28|ENOSPC|avail=0|可用 0|可用为 0|可用空间为 0|28 号错误|错误 28|"
                "写入报错|写入失败",
            ),
        ),
        remediation=say(
            "free space by deleting old logs|free space|free up space|delete old|clean up|remove old|rotate logs|log "
            "rotation|extend the volume|expand the volume|enlarge|add storage|increase disk|[free/free up/freeing/"
            "make/reclaim/reclaiming/recover/clear/add] … [space/room]|[clean/cleaning/cleanup/clean-up/purge/purging/"
            "prune/truncate/archive/compress] … [logs/log/files/data/disk/space/segments/it]|cleanup|purge|prune|"
            "truncate|archive|[delete/deleting/remove/removing/move/rotate] … [logs/files/data/segments/snapshots/"
            "backups]|logrotate|[more/additional/add] [space/disk/disk space/storage/capacity]|[bigger/larger] [disk/"
            "volume/partition]|[resize/extend/expand/grow/enlarging/expanding/extending/increase/increasing] … "
            "[volume/disk/partition/filesystem/storage/capacity/space]|[prune/purge/delete/free/clear/remove/clean/"
            "clean up/trim/drop/archive/move/offload] & [space/room/segments/logs/files/data/snapshots/backups/"
            "blocks]|[grow/extend/enlarge/expand/resize/increase/add/bigger/larger] & [volume/disk/filesystem/"
            "partition/storage/capacity/space/mount]",
            "清理旧日志释放空间|清理|删除旧|释放空间|扩容|日志轮转|扩大磁盘|[清除/腾出/归档/压缩/删除/清空/轮转/"
            "移除]…[日志/文件/数据/空间/旧文件]|[增加/扩大/扩展/扩充/加大]…[磁盘/空间/容量/存储/分区/卷]|[删除/归档/"
            "腾出空间/logrotate/加盘/清空]|[清理/删/删除/腾/释放/清/归档/压缩/迁移/转移] & [日志/数据/文件/空间/段/"
            "备份]|扩盘|[扩/扩大/扩展/增加/加] & [盘/卷/分区/容量/空间/文件系统/磁盘]",
        ),
        also=say(
            "{mount} ~ [full/filled up/out of space/exhausted/has no space]|{mount} [ran/has run/is running/runs] out "
            "of [space/room]|no [space/room] [left/available] on ~ {mount}|[exhausted/full] {mount}|out of room",
            "{mount}~[满/空间不足/空间耗尽/空间用尽/没有空间/耗尽/无空间]|[空间不足/空间耗尽/空间用尽/没有空间]",
        ),
        clues=(
            warn("diskmon", "{mount} size={gib}G used={gib}G avail=0 use=100% inodes=41%"),
            error("{svc}", "write {mount}/data/seg-{n}.log: errno 28"),
        ),
        symptoms=(
            error("rsyslogd", "omfile: write to {mount}/log/messages suspended, errno 28"),
            error("{svc}", "checkpoint {n} abandoned, journal not flushed"),
            error("postfix/cleanup", "queue file write error, message {hex} deferred"),
            warn("{svc}", "rejecting writes, switching to read-only mode"),
            error("{client}", "POST to {svc} answered 507 after {ms} ms"),
        ),
    ),
    Family(
        cause="memory_exhausted",
        component=say("{svc} on {host}|{svc}", "{host} 上的 {svc}|{svc}"),
        evidence=(
            say(
                "anon-rss of {size}MB and no free swap|{size}|no free swap|swap is 0|free swap 0|swap exhausted|no "
                "swap|zero free swap|swap at 0|swap used up|without swap|[swap/free swap] ~ [0/zero/empty/gone]",
                "anon-rss 达到 {size}MB 且 swap 为 0|{size}|swap 为 0|swap 耗尽|没有空闲 swap|无 swap|没有 swap|"
                "无剩余 swap|没有交换|swap 0|[swap/交换分区] & [耗尽/为 0/用完/没有]",
            ),
            say(
                "the kernel killed the process|killed process|kernel killed|was killed|SIGKILL|SIGKILLed|killed by "
                "the kernel|status 9|[kernel/OOM killer] & [kill/killed/kills/terminated/shot/picked/terminating]|OOM "
                "killer",
                "内核杀死了进程|进程被杀|被内核杀死|被杀死|被终止|[内核/OOM/进程] & [杀/杀掉/杀死/终止/kill/干掉]|"
                "被杀|被 kill",
            ),
        ),
        remediation=say(
            "add memory or cap the memory use of the process|add memory|more memory|increase memory|add RAM|more RAM|"
            "cap the memory|limit memory|memory limit|reduce memory|add swap|[increase/add/increasing/adding/upgrade/"
            "expand/more/additional/extra] … [memory/RAM/swap]|[restrict/limit/cap/lower/reduce/reducing/set/bound/"
            "optimise/optimize] … memory|[MemoryMax/cgroup/memory leak/enable swap/memory cap]|[add/more/increase/"
            "raise/give/expand/extra/upgrade/larger] & [RAM/memory/swap]|[cap/limit/bound/restrict/reduce/lower] & "
            "[memory/footprint/usage/{svc}]|MemoryMax",
            "增加内存或限制进程内存用量|增加内存|扩充内存|限制进程内存|限制内存|降低内存|增加 swap|[加/增大/扩大/升级/"
            "扩充/增加/扩容]…[内存/swap]|[限制/减少/降低/优化/控制/设置]…内存|[内存上限/扩容/修复内存泄漏/启用 swap/"
            "加内存]|[加/增加/扩/扩容/增大/升级] & [内存/swap]|[限制/设/降低/减少/控制/优化] & [内存/cgroup/占用]|"
            "cgroup|MemoryMax",
        ),
        also=say(
            "{host} ~ [short of memory/low on memory/out of RAM]|[too little/scarce] memory",
            "{host}~内存[不足/耗尽/用尽]",
        ),
        may_mention=("heap_leak", "memory_limit", "upstream_down"),
        clues=(
            warn("kernel", "{svc} invoked page allocation, order=0, free swap 0kB"),
            error("kernel", "Killed process {svc_pid} ({svc}) total-vm:{vm_kb}kB, anon-rss:{size}MB"),
        ),
        symptoms=(
            error("systemd", "{svc}.service: Main process exited, code=killed, status=9"),
            warn("systemd", "{svc}.service: Scheduled restart job, restart counter is at {restarts}"),
            error("{client}", "connection to {svc} reset by peer"),
            warn("kernel", "kswapd0: scanned {big} pages, reclaimed 3"),
            error("haproxy", "backend {svc} has no server available"),
        ),
    ),
    Family(
        cause="clock_wrong",
        component=say("chronyd on {host}|chronyd|chrony", "{host} 上的 chronyd|chronyd|chrony"),
        evidence=(
            say("offset of {secs} seconds|{secs}", "偏差 {secs} 秒|{secs}"),
            say(
                "tickets or tokens not yet valid|not yet valid|issued in the future|in the future|no [reachable/"
                "usable/selectable/available] [source/sources/server/servers/time source/time sources]|[issued/dated/"
                "lie/lies/iat/timestamp/timestamps] ~ future|not valid yet|from the future|[token/tokens/ticket/"
                "tickets/TLS/certificate] & [rejected/refused/invalid/future/fail/fails]|{drift_days} days"
                "|no [NTP/time/chrony] [source/sources/server/servers]|no [source/sources]",
                "票据或令牌尚未生效|尚未生效|来自未来|签发时间在未来|[没有/无][可用/可选/可选的/可用的]时间源|no "
                "selectable sources|[令牌/票据/token/票/证书] & [未来/尚未生效/未生效/被拒/拒绝/失败]|{drift_days} 天"
                "|[没有/无][可用源/可选源/源]|没有可用的源",
            ),
        ),
        remediation=say(
            "resynchronise time with a reachable NTP server|resynchronise|resynchronize|synchronise|synchronize|"
            "resync|sync the|sync time|restart chronyd|correct the time|fix NTP|step the clock|[correct/fix/adjust/"
            "set/reset/sync/resync/repair/re-sync] … [clock/time]|[restore/repair/check/configure/fix/reconfigure/"
            "re-enable/reachable/working] … [NTP/time synchronization/time sync/time source/time sources/chronyd/"
            "chrony]|[makestep/re-synchronise/re-synchronize/resynchronisation/resynchronization]|restart [chrony/NTP/"
            "ntpd]|[NTP/time] [server/servers/source/sources]|chronyc|[fix/restore/repair/bring/reach/reachability/"
            "reconnect/reconfigure/add/configure/working] & [NTP/time source/time sources/time server/time servers/"
            "chrony/chronyd/NTP servers]|[step/resync/set/correct/force] & [clock/time/sync]|makestep",
            "与可用的 NTP 服务器重新同步时间|重新同步|同步时间|校准时间|校时|重启 chronyd|修复 NTP|[修正/校正/调整/"
            "同步/校准/重新同步/修复/纠正]…[时钟/时间]|[恢复/检查/配置/修复/重启/更换]…[NTP/时间源/同步/chronyd/"
            "chrony/时间服务器]|[重新校时/强制同步/makestep/NTP 服务器/时间源]|[恢复/修复/修好/配置/更换/重启/连通] & "
            "[NTP/时间源/chronyd/对时/校时]|makestep|[校准/同步/校正/强制] & [时间/时钟]|对时",
        ),
        also=say(
            "time on {host} ~ [wrong/off/drifted]|time [is/was] [wrong/off]|chronyd ~ lost [sync/synchronization/its "
            "sources]|[no/lost] [NTP source/time source/time sources/NTP sources]",
            "{host}~时间~[错误/不准/偏差]|[失去/没有/无][可用的时间源/时间源/NTP 源]",
        ),
        clues=(
            warn("chronyd", "no selectable sources, last update {drift_days} days ago"),
            warn("chronyd", "estimated offset {secs} s against {peer}"),
        ),
        symptoms=(
            error("krb5kdc", "preauth for {user}: ticket not yet valid"),
            error("{svc}", "token {hex} rejected: iat lies in the future"),
            error("sshd", "GSSAPI login of {user} refused"),
            warn("corosync", "message of {peer} carries a timestamp ahead of ours"),
            error("{svc}", "TLS peer {peer}: notBefore check did not pass"),
        ),
        eval_only=True,
    ),
    Family(
        cause="disk_failing",
        component=say("{disk} on {host}|{disk}", "{host} 的 {disk}|{disk}"),
        evidence=(
            say(
                "{count} reallocated sectors|{count}|reallocated sector|reallocated_sector|SMART|remapped sectors|"
                "attribute 5|bad sectors|[reallocated/remapped] & [sectors/blocks]",
                "重映射扇区达到 {count}|{count}|重映射扇区|SMART|重分配|重映射|坏道|第 5 项",
            ),
            say(
                "I/O errors on the device|I/O error|IO error|read error|medium error|read errors|EIO|media errors|"
                "write errors",
                "设备 I/O 错误|I/O 错误|IO 错误|读取错误|读错误|IO error|I/O error|读写报错|读写错误|EIO|"
                "blk_update_request",
            ),
        ),
        remediation=say(
            "replace the drive and restore its data|replace|swap the drive|swap the disk|new disk|new drive|"
            "[replacement/replacing/exchange/substitute/new SSD/swap out/swap it/hot-swap]|change the [disk/drive]|"
            "[restore/recover/migrate/move] … [data/backup/backups]|rebuild … array|[swap/replace/exchange/new/"
            "change] & [drive/disk/device/it/SSD/hardware]|[restore/rebuild/resilver/back up/backup/migrate/mirror/"
            "copy] & [data/array/mirror/RAID/it]",
            "更换硬盘并恢复数据|更换|替换|换盘|[换掉/换新/换硬盘/换磁盘/换上/新硬盘/新磁盘/换新盘]|[迁移/备份/"
            "恢复]…数据|重建~[阵列/RAID]|[更换/换/替换] & [盘/硬盘/磁盘/设备]|[重建/恢复/备份/迁移] & [数据/阵列/RAID]",
        ),
        also=say(
            "{disk} ~ [failing/failed/faulty/dying/defective/damaged/broken/going bad/dead]|[failing/failed/faulty/"
            "dying/bad/defective/damaged] {disk}|[failure/damage] of {disk}|{disk} [failure/hardware failure]",
            "{disk}~[故障/损坏/失效/坏了/硬件故障]",
        ),
        clues=(
            error("kernel", "blk_update_request: I/O error, dev {disk}, sector {big}"),
            warn("smartd", "/dev/{disk}: attribute 5 Reallocated_Sector_Ct raw value {count}"),
        ),
        symptoms=(
            error("kernel", "ata3.00: READ DMA EXT not completed, status {{ DRDY ERR }}"),
            error("kernel", "EXT4-fs ({disk}1): remounting filesystem read-only"),
            error("{svc}", "fsync returned EIO on segment {n}"),
            warn("{svc}", "read of block {big} took {ms} ms"),
            error("md", "array md0 degraded, 1 of 2 members active"),
        ),
    ),
    Family(
        cause="conntrack_full",
        component=say("netfilter on {host}|netfilter|{host}", "{host} 的 netfilter|netfilter|{host}"),
        evidence=(
            say(
                "count {tracked} equals the maximum {tracked}|{tracked}",
                "计数 {tracked} 等于最大值 {tracked}|{tracked}",
            ),
            say(
                "the kernel drops packets|dropping packet|drops packet|dropped packet|packet drop|[drop/drops/dropped/"
                "dropping/discards/discarded/refused/refuses/thrown away/rejected/rejects] & [packet/packets/flow/"
                "flows/connection/connections/SYN/traffic]|{count}"
                "|drops|dropping|dropped",
                "内核丢弃数据包|丢弃数据包|丢弃报文|丢弃新连接|丢包|[报文/数据包/包/新连接/新流/新建连接] & [丢/丢弃/"
                "丢包/拒绝/被拒/丢掉]|{count}"
                "|丢弃",
            ),
        ),
        remediation=say(
            "raise nf_conntrack_max and shorten timeouts|nf_conntrack_max|raise the maximum|increase the maximum|"
            "raise the limit|increase the limit|enlarge the table|shorten timeouts|reduce timeouts|[raise/raising/"
            "increase/increasing/enlarge/enlarging/expand/bump/grow/adjust] … [limit/maximum/max/nf_conntrack_max/"
            "size/table/conntrack_max/capacity]|[larger/bigger/higher] … [table/limit/maximum/nf_conntrack_max]|"
            "[shorten/lower/reduce/decrease/shortening/reducing] … [timeout/timeouts]|sysctl|conntrack_max|[raise/"
            "increase/enlarge/bump/extend/grow/double] & [nf_conntrack_max/conntrack/table/limit/max/ceiling/buckets]|"
            "[lower/cut/shorten/reduce/decrease] & [timeout/timeouts]",
            "调大 nf_conntrack_max 并缩短超时|nf_conntrack_max|调大上限|提高上限|增大表|缩短超时|[调大/提高/增大/增加/"
            "扩大/上调/调高/加大/调整]…[上限/限制/表/nf_conntrack_max/容量/最大值/最大连接数]|[缩短/降低/减少/"
            "调低]…超时|[扩容/扩大连接跟踪表]|[调大/提高/增大/扩大/加大/调高] & [nf_conntrack_max/conntrack/跟踪表/"
            "上限/表]|[缩短/降低/减小/调低] & 超时",
        ),
        also=say(
            "[table/netfilter] ~ [full/exhausted/at its limit]|too many tracked connections",
            "[跟踪表/netfilter 表]~[满/耗尽/上限]",
        ),
        may_mention=("connection_limit", "network_down"),
        clues=(
            warn("kernel", "nf_conntrack: count {tracked} max {tracked}, dropping packet"),
            warn("netmon", "new flows refused by netfilter: {count} in 60 s"),
        ),
        symptoms=(
            error("{svc}", "connect to {peer}:5432 timed out"),
            error("{client}", "lookup of {peer} gave no reply in {ms} ms"),
            error("haproxy", "server {svc}/1 DOWN, layer4 timeout"),
            warn("sshd", "banner exchange with {ip}: timed out"),
            error("{svc}", "SYN to {ip} retransmitted 6 times"),
        ),
    ),
    Family(
        cause="descriptors_exhausted",
        component=say("{svc} on {host}|{svc}", "{host} 上的 {svc}|{svc}"),
        evidence=(
            say(
                "accept failed with errno 24|errno 24|EMFILE|accept4|error 24|too many open files|cannot accept",
                "accept 返回 errno 24|errno 24|EMFILE|accept4|24 号错误|错误 24|无法接受新连接",
            ),
            say("{files} of {files} in use|{files}", "已使用 {files}/{files}|{files}"),
        ),
        remediation=say(
            "raise LimitNOFILE and close leaked sockets|LimitNOFILE|raise the limit|increase the limit|ulimit|nofile|"
            "close leaked|close unused|close sockets|fix the leak|[raise/raising/increase/increasing/higher/bump/"
            "adjust] … [limit/ulimit/nofile/LimitNOFILE/limits]|[close/closing/release] … [sockets/socket/connections/"
            "descriptors/files/handles/fds]|[fix/plug/find/repair/stop] … [leak/leaks]|ulimit -n|[raise/increase/bump/"
            "higher/lift] & [limit/ulimit/nofile/LimitNOFILE/limits]|[close/fix/plug/find/stop/release] & [leak/leaks/"
            "sockets/descriptors/connections/socket leak]",
            "调大 LimitNOFILE 并关闭泄漏的套接字|LimitNOFILE|提高上限|调大上限|ulimit|nofile|关闭泄漏|修复泄漏|[调大/"
            "提高/增大/增加/上调/调高]…[上限/限制/ulimit/nofile/LimitNOFILE/描述符/句柄数]|[关闭/释放]…[套接字/连接/"
            "文件/句柄/描述符]|[修复/排查/解决]…[泄漏/泄露]|[调高/提高/调大/增大/放宽] & [LimitNOFILE/ulimit/上限/"
            "限制/nofile]|[修复/查/排查/关闭/解决/堵住] & [泄漏/泄露/套接字/连接/句柄]",
        ),
        also=say(
            "{svc} ~ out of [descriptors/fds/file descriptors]|[file/open file/nofile] limit ~ [reached/exhausted/"
            "hit]|[nofile/open files/LimitNOFILE] ~ [exhausted/reached/too low]|too many [open sockets/sockets/leaked "
            "sockets]|[reached/hit/exhausted] ~ [nofile/LimitNOFILE/open file limit]",
            "[nofile/打开文件数]~[耗尽/上限/过小]|[达到/超过]~[nofile/文件数上限]|[套接字/socket]~[泄漏/泄露/未关闭]",
        ),
        may_mention=("pool_exhausted", "connection_limit", "upstream_down"),
        clues=(
            warn("procmon", "{svc}: /proc/{svc_pid}/fd entries {files}, nofile {files}"),
            error("{svc}", "accept4: errno 24, pausing listener"),
        ),
        symptoms=(
            error("{svc}", "cannot open /etc/resolv.conf: EMFILE"),
            error("haproxy", "health check of {svc} refused"),
            error("{client}", "dial {svc}:8443 refused, attempt {attempt}"),
            warn("{svc}", "sockets in CLOSE_WAIT: {close_wait}"),
            error("{svc}", "could not rotate access log: errno 24"),
        ),
    ),
)

BACKGROUND = (
    info("systemd", "Started Session {session_no} of user {user}."),
    info("CRON", "({user}) CMD (/usr/local/bin/backup --part {n})"),
    info("sshd", "Accepted publickey for {user} from {anyip} port 4{ms}"),
    info("{other}", "handled {ms} requests in the last minute, p99 {n} ms"),
    info("systemd", "logrotate.service: Deactivated successfully."),
    info("dbus-daemon", "Successfully activated service org.freedesktop.hostname1"),
    info("{other}", "configuration unchanged, revision {n}"),
    info("dhclient", "bound to {hostip} -- renewal in {n} seconds"),
    info("{client}", "worker {n} finished batch {hex}"),
    info("kernel", "eth0: 10000 Mbps, full duplex, {packets} packets since boot"),
    info("anacron", "Normal exit ({few} jobs run)"),
    info("{other}", "cache warmed with {big} entries in {ms} ms"),
    info("auditd", "rotating log files, event {event_no}"),
    info("postfix/smtp", "{hex}: to=<{user}@example.org>, status=sent"),
)

HARMLESS = (
    Harmless(
        say(
            "the retried package index update|package index|apt|unattended-upgrade|mirror",
            "软件包索引更新重试|软件包索引|apt|unattended-upgrade|镜像源|软件源|源索引|软件包列表",
        ),
        (
            warn("apt-daily", "package index of mirror {anyip} not refreshed, will retry"),
            info("apt-daily", "package index refreshed at second attempt, {n} entries"),
        ),
    ),
    Harmless(
        say("the deprecated option|deprecated option|deprecated|deprecation|legacy option", "弃用选项|已弃用|弃用"),
        (
            warn("{bystander}", "option legacy_hash is deprecated and ignored since version {n}"),
            warn("systemd", "{bystander}.service:{n}: deprecated key in unit file, ignored"),
        ),
    ),
    Harmless(
        say(
            "the temperature warning that cleared|temperature|thermal|throttled CPU|core temperature|CPU ~ [hot/warm]|"
            "overheat|overheating",
            "已恢复的温度告警|温度|过热|高温|超温",
        ),
        (
            warn("kernel", "CPU{cpu}: core temperature above threshold"),
            info("kernel", "CPU{cpu}: core temperature back to normal"),
        ),
    ),
    Harmless(
        say(
            "the stray login attempts|login attempt|invalid user|ssh scan|unknown user|invalid users|[ssh/sshd] & "
            "[probe/probes/scan/guess/guesses/attempts/users]",
            "零星的登录尝试|登录尝试|无效用户|[sshd/SSH] & [试探/探测/尝试/用户]|ssh 扫描|未知用户",
        ),
        (
            warn("sshd", "Invalid user test{n} from {anyip}, connection closed"),
            warn("sshd", "Invalid user oracle{n} from {anyip}, connection closed"),
        ),
    ),
)

RED_HERRINGS = (
    RedHerring(
        "intrusion",
        (
            error("sshd", "Failed password for root from {badip} port {port}"),
            error("sshd", "Failed password for admin from {badip} port {port}"),
            error("sshd", "error: maximum authentication attempts exceeded for root from {badip}"),
            error("sshd", "Failed password for root from {badip} port {port}"),
            info("fail2ban", "banned {badip}, no login from it succeeded"),
        ),
    ),
    RedHerring(
        "network_down",
        (
            error("kernel", "eth1: link is down"),
            error("bond0", "slave eth1 lost, {n} frames queued"),
            error("keepalived", "VRRP instance standby on eth1 in FAULT state"),
            error("lldpd", "neighbour on eth1 gone, port {n}"),
            info("keepalived", "eth1 is the unused spare port, removed for maintenance {part}, traffic stays on eth0"),
        ),
    ),
)

STYLE = Style(
    name="syslog",
    title=say("syslog of host {host}", "主机 {host} 的 syslog"),
    max_lines=28,
    background=BACKGROUND,
    harmless=HARMLESS,
    red_herrings=RED_HERRINGS,
    families=FAMILIES,
)
