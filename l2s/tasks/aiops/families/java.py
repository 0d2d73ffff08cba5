"""Java applications: faults that show in an application log with stack traces."""

from l2s.tasks.aiops.records import Family, Harmless, RedHerring, Style, error, info, say, warn

SERVICE = say("{svc}", "{svc}")

FAMILIES = (
    Family(
        cause="heap_leak",
        component=say("{cls} in {svc}|{cls}|{svc}", "{svc} 中的 {cls}|{cls}|{svc}"),
        evidence=(
            say(
                "OutOfMemoryError in the log|OutOfMemoryError|OutOfMemory|heap space|OOM|out of memory error",
                "日志中的 OutOfMemoryError|OutOfMemoryError|OutOfMemory|heap space|OOM|内存溢出",
            ),
            say(
                "{count} instances of {cls} retained|{count} instances|{count}|instances retained|retained instances|"
                "{pct}%|[old gen/old generation] & [full/still/stays]",
                "保留了 {count} 个 {cls} 实例|{count}|{pct}%|老年代",
            ),
        ),
        remediation=say(
            "bound the collection that retains them and take a heap dump|heap dump|bound the|evict|eviction|release "
            "references|clear the|limit the cache|weak references|fix the leak|[heap analysis/dump the heap/heap "
            "profile/heap profiling/memory profiler/profile the heap]|[limit/bound/cap/evict/evicting/bounding/expire/"
            "clear/clearing/release/releasing/remove/free] … [{cls}/collection/cache/instances/objects/entries/"
            "references/map/list/size]|[fix/find/repair/plug/patch/locate] … [leak/leaks/leaking]|[LRU/bounded/weak "
            "reference]|[fix/find/plug/bound/cap/evict/limit/release/analyse/analyze/take/clear] & [leak/dump/"
            "collection/references/{cls}/cache/objects/holds/retention]",
            "限制保留对象的集合并转储堆分析|堆转储|转储堆|淘汰|释放引用|清理|限制缓存|弱引用|修复泄漏|[限制/清理/释放/"
            "淘汰/移除/清除/控制]…[集合/缓存/实例/对象/{cls}/引用/大小]|[修复/定位/排查/解决/修补]…[泄漏/泄露]|"
            "[堆分析/heap dump/有界/LRU/过期策略]|[dump/转储/抓取/分析/导出] & [堆/heap/内存]|[修/修复/定位/限制/解决/"
            "加] & [泄漏/泄露/上限/引用/集合/缓存]|heap dump",
        ),
        also=say(
            "{cls} ~ [leaking/leaks/leak/leaked/growing/grows/accumulating/not released/never released/retained]|"
            "[leak/leaking/leakage/leaks/accumulation/build-up] ~ {cls}|too many {cls} [instances/objects]|{cls} "
            "[instances/objects] ~ [accumulate/accumulating/not released/never released/pile up/piling up/leak/"
            "leaking/grow/growing]|unreleased {cls}|[heap/Java heap/JVM heap/JVM] ~ [out of memory/ran out of memory/"
            "OOM]|old gen ~ [full/exhausted]",
            "{cls}~[泄漏/泄露/未释放/堆积/累积/无限增长/持续增长/实例堆积/实例未释放/对象泄漏/实例过多/对象未释放/"
            "未被释放]|老年代~[满/耗尽]",
        ),
        may_mention=("gc_pause", "memory_exhausted"),
        clues=(
            warn("MemoryWatch", "old gen {pct}% used after collection {hex}, top class {cls} x {count}"),
            error(
                "RequestLoop",
                "java.lang.OutOfMemoryError: Java heap space, request {hex}\n"
                "\tat java.util.Arrays.copyOf(Arrays.java:{n})\n"
                "\tat com.acme.{cls}.append({cls}.java:{n})",
            ),
        ),
        symptoms=(
            error("HttpServer", "request {hex} aborted: java.lang.OutOfMemoryError"),
            warn("HttpServer", "response for {hex} took {ms} ms"),
            warn("MemoryWatch", "top class {cls} grew by {n} in one minute"),
            error("Registry", "instance {svc} missed {few} heartbeats"),
        ),
    ),
    Family(
        cause="deadlock",
        component=say("{cls} and {cls2}|{cls}", "{cls} 与 {cls2}|{cls}"),
        evidence=(
            say(
                "worker-{tid} and worker-{tid2} wait for each other|worker-{tid}|wait for each other|waiting for each "
                "other|each waits for|each holds|waiting to lock",
                "worker-{tid} 与 worker-{tid2} 互相等待|worker-{tid}|互相等待|相互等待|等待对方",
            ),
            say(
                "both threads stay BLOCKED|BLOCKED|waiting for the lock|waits for {cls}|[each/both] & [wait/waits/"
                "waiting/holding/holds]|holding {cls2}",
                "两个线程一直处于 BLOCKED|BLOCKED|对方持有|持有的锁|阻塞|互相等待",
            ),
        ),
        remediation=say(
            "take both locks in one fixed order|fixed order|same order|consistent order|lock ordering|tryLock|lock "
            "timeout|single lock|one lock|[acquire/take/lock/obtain/acquiring/taking/order/enforce/use/establish] … "
            "[order/locks in order/ordering/lock order]|[global/canonical/consistent/uniform/defined/same/fixed/"
            "strict/single/common] [order/lock order/ordering/lock/lock ordering]|[lock timeouts/timed lock/timed "
            "locks/lock with timeout/try-lock/coarser lock]|restart|[acquire/take/enforce/use/same/consistent/global/"
            "fixed] & [order/ordering]|[order/reorder] & locks",
            "按固定顺序获取两把锁|固定顺序|相同顺序|统一顺序|tryLock|锁超时|同一把锁|[统一/固定/相同/一致/全局]…[顺序/"
            "加锁顺序]|[按/以]…顺序|[调整/规范]…顺序|[锁超时/单一锁/一把锁/tryLock/重启]|[统一/固定/规范/按] & [顺序/"
            "加锁]|[调整/统一] & 锁",
        ),
        also=say(
            "[{cls} and {cls2}/threads/workers/worker-{tid}] ~ [block each other/blocked on each other/lock each "
            "other]|locks ~ in [opposite/different/reverse/inconsistent] order|lock [order/ordering/acquisition order]",
            "[加锁/锁/获锁]顺序|[互相/相互]持有对方~锁",
        ),
        may_mention=("long_transaction",),
        clues=(
            warn(
                "ThreadWatch",
                "worker-{tid} BLOCKED: waiting to lock <0x{lock}> {cls}, holds <0x{lock2}> {cls2}\n"
                "\tat com.acme.{cls2}.moveTo({cls2}.java:{n})",
            ),
            warn(
                "ThreadWatch",
                "worker-{tid2} BLOCKED: waiting to lock <0x{lock2}> {cls2}, holds <0x{lock}> {cls}\n"
                "\tat com.acme.{cls}.moveFrom({cls}.java:{n})",
            ),
        ),
        symptoms=(
            error("HttpServer", "no answer for {hex} in 60000 ms"),
            warn("Scheduler", "task transfer-{n} still running after {ms} ms"),
            error("Gateway", "{svc} did not respond, transfer {hex} undecided"),
            info("MemoryWatch", "heap 31%, load 0.02"),
        ),
    ),
    Family(
        cause="thread_pool_full",
        component=say("executor {svc}-exec|{svc}-exec|{svc}", "执行器 {svc}-exec|{svc}-exec|{svc}"),
        evidence=(
            say(
                "RejectedExecutionException is thrown|RejectedExecutionException|RejectedExecution|rejected|[tasks/"
                "requests/work] & [rejected/refused/shed]|rejection",
                "抛出 RejectedExecutionException|RejectedExecutionException|拒绝任务|任务被拒绝|被拒|拒绝",
            ),
            say("active {limit} of {limit}|{limit} active|active {limit}|{limit}", "活动线程 {limit}/{limit}|{limit}"),
        ),
        remediation=say(
            "set timeouts on the slow call and enlarge the executor|set timeouts|add timeouts|timeout on|timeouts on|"
            "enlarge|increase the pool|larger pool|more threads|increase threads|bulkhead|separate pool|[set/add/"
            "configure/use/introduce/adding/setting/apply/lower/shorter] … [timeout/timeouts]|[enlarge/increase/raise/"
            "expand/larger/bigger/increasing/grow/enlarging] … [pool/executor/thread pool/threads/pool size]|[circuit "
            "breaker/bulkheads/asynchronous/non-blocking/async/dedicated pool/separate executor]|timeout|circuit "
            "breaker|isolate|[bigger/enlarge/larger/increase/tune/expand/more] & [pool/executor/threads/queue/pool "
            "size]",
            "为慢调用设置超时并扩大执行器|设置超时|加超时|扩大|增大|增加线程|隔离|独立线程池|[设置/增加/添加/配置/"
            "加上/缩短/加入]…超时|[扩大/增大/增加/调大/提高/扩容]…[线程池/线程/执行器/线程数/池]|[熔断/异步/舱壁/"
            "隔离线程池]|超时|熔断|[扩/扩大/扩容/调大/增大] & [线程池/池/线程/执行器]",
        ),
        also=say(
            "{svc}-exec ~ [exhausted/full/saturated/overloaded/used up/out of threads/busy]|[exhausted/full/"
            "saturated] {svc}-exec|all {limit} [threads/workers/threads of {svc}-exec] ~ [wait/waiting/hang/busy/"
            "blocked/in use/active/stuck/occupied]|threads ~ [stuck/blocked/hanging] ~ HttpClient.send|pool ~ "
            "[exhausted/full/saturated]",
            "{svc}-exec~[耗尽/满/占满/饱和/用尽/打满]|线程~[阻塞/卡住/占用]~HttpClient.send|池~[耗尽/满]",
        ),
        may_mention=("upstream_slow",),
        clues=(
            warn("ExecutorWatch", "{svc}-exec active {limit} of {limit}, queued {count}, all in HttpClient.send"),
            error(
                "{svc}-exec",
                "java.util.concurrent.RejectedExecutionException: task {hex}\n"
                "\tat com.acme.{cls}.submit({cls}.java:{n})\n\tat com.acme.{cls}.handle({cls}.java:{n})",
            ),
        ),
        symptoms=(
            error("HttpServer", "503 for request {hex}"),
            warn("HttpServer", "request {hex} waited {ms} ms before it ran"),
            error("Gateway", "{svc} shed {n} requests"),
            info("MemoryWatch", "heap 44%, old gen stable"),
        ),
    ),
    Family(
        cause="library_conflict",
        component=say("{lib} in {svc}|{lib}|{svc}", "{svc} 中的 {lib}|{lib}|{svc}"),
        evidence=(
            say(
                "NoSuchMethodError after the deployment|NoSuchMethodError|NoSuchMethod",
                "部署后出现 NoSuchMethodError|NoSuchMethodError|NoSuchMethod",
            ),
            say(
                "{lib} is on the class path as {version} and {version2}|{version2}|{version}|twice on the class path|"
                "two versions",
                "类路径中同时有 {lib} {version} 和 {version2}|{version2}|{version}|两个版本",
            ),
        ),
        remediation=say(
            "pin one version and exclude the other|pin|exclude|align|one version|same version|dependency management|"
            "remove the duplicate|remove the old|[pinning/excluding/exclusion/aligning/unify/unifying/deduplicate/"
            "dedupe/single version/consistent version/BOM/shade]|[remove/exclude/drop/delete/removing/keep/use/"
            "enforce] … [version/jar/{lib}/duplicate/{version}/{version2}/old one/dependency]|[roll back/rollback/"
            "upgrade/downgrade]|[keep/one/single/exclude/align/remove/drop/pin/unify/dedupe/converge] & [version/"
            "versions/dependency/jar/jars/duplicate/copy/{lib}]",
            "固定一个版本并排除另一个|固定|排除另一|统一版本|同一版本|移除重复|移除旧|[统一/固定/锁定/对齐/保留/排除/"
            "移除/删除/去除/剔除/升级]…[版本/依赖/jar/{lib}/重复/{version}/{version2}]|[统一依赖/回滚/单一版本/"
            "依赖管理/去重]|[统一/排除/剔除/锁定/去掉/移除/保留/删除/固定] & [版本/依赖/jar/其一/一个/重复/{lib}/多余]",
        ),
        also=say(
            "{lib} ~ [conflict/version conflict/versions conflict/mismatch/version mismatch/incompatible/clash/"
            "duplicated]|[conflict/conflicting/incompatible/duplicate/mismatched/two/wrong] [versions of/version of/"
            "copies of] {lib}|[conflicting/incompatible/duplicate/mismatched/wrong/old] {lib}|[conflict/clash] [of/"
            "between/in] ~ {lib}|[two/both/different/duplicate] [versions/library versions]|old version of {lib}",
            "{lib}~[冲突/版本冲突/不兼容/版本不一致/版本不匹配/重复/存在两个版本/版本不兼容/多版本]|[两个/多个/"
            "不同]版本~{lib}|{lib}~[两个/多个/不同]版本|[两个/不同/多个]版本",
        ),
        may_mention=("bad_release",),
        clues=(
            info("Launcher", "class path entries {lib}-{version}.jar, {lib}-{version2}.jar"),
            info("Deployer", "{svc} build {rev} started in {ms} ms"),
            error(
                "HttpServer",
                "java.lang.NoSuchMethodError: {hex}: {lib}.Codec.of(int)\n"
                "\tat com.acme.{cls}.encode({cls}.java:{n})\n\tat com.acme.{cls}.handle({cls}.java:{n})",
            ),
        ),
        symptoms=(
            error("HttpServer", "500 for request {hex}: java.lang.NoSuchMethodError"),
            warn("Health", "endpoint /encode fails since start, others pass"),
            error("Gateway", "{svc} answered 500, request {hex}"),
            error("Gateway", "{svc} answered 500 at check {few} of /encode"),
        ),
    ),
    Family(
        cause="schema_mismatch",
        component=say("consumer of topic {topic}|{topic}|{svc}", "主题 {topic} 的消费者|{topic}|{svc}"),
        evidence=(
            say(
                "field {field} is unknown to the reader|{field}|unknown field|unexpected field|SerializationException",
                "字段 {field} 无法识别|{field}|未知字段|SerializationException",
            ),
            say("it starts at offset {big1}|{big1}|offset", "从偏移量 {big1} 开始|{big1}|偏移量|offset"),
        ),
        remediation=say(
            "deploy a reader for the new format or roll back the producer|update the consumer|upgrade the consumer|"
            "deploy a reader|roll back the producer|roll back|rollback|schema registry|compatibility check|backward "
            "compatible|backward-compatible|[update/upgrade/deploy/updating/upgrading/redeploy/adapt/fix] … [consumer/"
            "reader/consumers/schema]|[roll back/revert/rolling back/rollback/undo] … [producer/build {rev}/schema/"
            "change/{field}]|[compatibility/compatible/versioned schema/schema versioning/schema validation]|[revert/"
            "rolling back]|[make/default/optional] … [field/{field}]|[upgrade/update/deploy/fix/adapt] & [consumer/"
            "reader/schema/consumers]|[roll back/revert/rollback] & [producer/build/change]|update it|upgrade it",
            "部署能读新格式的消费者或回滚生产者|升级消费者|更新消费者|回滚|schema registry|兼容性检查|向后兼容|[升级/"
            "更新/部署/适配/修改]…[消费者/消费端/读取端/schema/reader]|[回滚/回退/撤销]…[生产者/版本/变更/schema]|"
            "[兼容/兼容性/模式注册/回退]|[升级/更新/部署] & [消费者/消费端/schema]|兼容|升级它",
        ),
        also=say(
            "[producer/new producer/new build/build {rev}] ~ [changed/added/adds/introduced/introduces/writes] … "
            "[field/schema/format/{field}]|[new/added/additional/unexpected] field|[adds/added/introduced/new] "
            "{field}|[consumer/reader] ~ [not compatible/outdated/too old/incompatible/cannot read/cannot deserialize/"
            "cannot parse/out of date/not updated]|[outdated/old] [consumer/reader]|[serialization/deserialization] "
            "[incompatibility/mismatch/failure/error]",
            "[新增/增加/添加/新]字段|[新增/增加/添加/新]了字段|新增~{field}|[生产者/新版本]…[新增/增加/变更/"
            "改变]…字段|消费者~[不兼容/过旧/未升级/未更新/不识别/无法识别/无法解析/无法反序列化]|[序列化/"
            "反序列化]~[不兼容/失败/错误]",
        ),
        may_mention=("bad_release",),
        clues=(
            info("Producer", "build {rev} writes {topic} with field {field}"),
            error(
                "Consumer",
                "SerializationException at {topic} offset {big1}: {field} not in reader\n"
                "\tat com.acme.{cls}.read({cls}.java:{n})",
            ),
        ),
        symptoms=(
            warn("Consumer", "{topic}: seek back to offset {big1}, attempt {attempt}"),
            warn("LagWatch", "{topic} lag {n} and growing"),
            error("Consumer", "record at {big1} copied to dead letters"),
            error("Gateway", "order view of {svc} is {minutes} min old", after="{minutes} min"),
        ),
    ),
    Family(
        cause="gc_pause",
        component=say("JVM of {svc}|{svc}", "{svc} 的 JVM|{svc}"),
        evidence=(
            say(
                "Pause Full of {pause} s|Pause Full|{pause}|full GC",
                "Pause Full 持续 {pause} 秒|Pause Full|{pause}|Full GC",
            ),
            say(
                "leases and sessions expire meanwhile|session expired|sessions expire|lease|leases expire|lost "
                "leadership|heartbeat|[session/lease/leadership/heartbeat/heartbeats] & [expired/expire/expires/lost/"
                "missed/loses]",
                "期间租约和会话过期|会话过期|租约|失去领导权|心跳|[会话/租约/session/心跳] & [过期/丢失/失效/超时/"
                "中断]",
            ),
        ),
        remediation=say(
            "tune the collector and heap size|tune the collector|tune the heap|tune GC|tune the GC|G1|ZGC|increase "
            "the heap|larger heap|heap size|reduce allocation|[tune/tuning/optimise/optimize/adjust/change/switch/"
            "increase/enlarge/reduce/larger/bigger/raise] … [GC/heap/collector/garbage collector/JVM/heap size/"
            "allocation/allocations/garbage/memory]|[G1GC/Shenandoah/low-pause/concurrent collector/ZGC/different "
            "collector]|[fix/find] … leak|more heap|[tune/enlarge/increase/bigger/larger/cut/reduce/move/switch/use/"
            "adjust/optimise/optimize] & [heap/GC/allocation/allocations/collector/ZGC/G1/Shenandoah]",
            "调优收集器和堆大小|调优|G1|ZGC|增大堆|堆大小|减少分配|[调整/优化/调优/更换/增大/减少/扩大/增加/降低/改用/"
            "切换]…[GC/堆/收集器/JVM/内存/分配/垃圾回收器]|[更换收集器/ZGC/G1]|[调/调大/扩大/增大/减少/优化/换/改用/"
            "调整] & [堆/GC/分配/收集器/堆内存/参数/G1/ZGC]",
        ),
        also=say(
            "[long/excessive] [pauses/pause/full pauses]|[full GC/full GCs/GCs/Full GC cycles]|JVM [pauses/pause/"
            "stalls]|[garbage collector/collector] ~ [stops/stopped/paused] ~ [JVM/application/world]|heap ~ [too "
            "small/nearly full]",
            "[停顿/暂停]~[过长/时间过长]|Full GC|JVM~[卡住/停住]",
        ),
        may_mention=("heap_leak", "memory_exhausted"),
        clues=(
            info("gc", "Pause Full (Allocation Failure) 7890M->7712M {pause}.0s", after="{pause} s"),
            info("gc", "Pause Full (Ergonomics) 7931M->7805M {pause2}.0s", after="{pause2} s"),
            error("ZkClient", "session {hex} expired, lease for {topic} lost"),
        ),
        symptoms=(
            warn("HttpServer", "{n} requests stalled at the same moment"),
            error("Gateway", "{svc} silent, {n} calls timed out together"),
            warn("Cluster", "member {svc} suspected, then back after {ms} ms"),
            warn("Scheduler", "clockwork task tick-{n} fired {late_ms} ms late"),
        ),
        eval_only=True,
    ),
)

BACKGROUND = (
    info("HttpServer", "200 for request {hex} in {n} ms"),
    info("Scheduler", "task sweep-{job_no} done in {ms} ms"),
    info("HttpServer", "201 for request {hex} in {n} ms"),
    info("Cache", "evicted {n} entries, hits {hits}"),
    info("Consumer", "committed offset {offset} of audit-log"),
    info("Db", "select orders {hex} 4 rows {n} ms"),
    info("Auth", "user {user} signed in, session {hex}"),
    info("Scheduler", "task digest-{job_no} queued"),
    info("Mailer", "sent {n} mails"),
    info("Db", "update stock {hex} 1 row {n} ms"),
    info("Metrics", "pushed {n} series"),
    info("HttpServer", "204 for request {hex} in {n} ms"),
)

HARMLESS = (
    Harmless(
        say(
            "the invalid input of a user|invalid input|NumberFormatException|input string|bad input|[number/numeric/"
            "numbers/user/non-numeric] & [input/inputs/invalid/bad/malformed]",
            "用户的无效输入|无效输入|NumberFormatException|错误输入|[用户/客户端] & 输入|输入格式错误|输入非数字|"
            "非数字",
        ),
        (
            warn("Form", 'java.lang.NumberFormatException: input "{n}x", 400 sent for {hex}'),
            warn("Form", 'java.lang.NumberFormatException: input "-{n}-", 400 sent for {hex}'),
        ),
    ),
    Harmless(
        say(
            "the client that hung up|hung up|broken pipe|client disconnect|disconnected|[client/clients/user/peer] & "
            "[left/gone/went away/disconnect/disconnects/closed/aborted]",
            "断开的客户端|断开|broken pipe|客户端[离开/中断/中止]",
        ),
        (
            warn(
                "HttpServer",
                "java.io.IOException: Broken pipe for {ref}\n\tat sun.nio.ch.SocketDispatcher.write0(Native Method)",
            ),
            info("HttpServer", "client of {ref} went away, {n} bytes unsent"),
        ),
    ),
    Harmless(
        say("the deprecated property|deprecated|deprecation", "弃用的属性|弃用"),
        (
            warn("Launcher", "property acme.legacy.mode is deprecated, use acme.mode"),
            warn("Launcher", "property acme.cache.old is deprecated, default {n} used"),
        ),
    ),
    Harmless(
        say("the optimistic lock retry|optimistic lock|OptimisticLock|retried|retry", "乐观锁重试|乐观锁|重试"),
        (
            warn("Db", "OptimisticLockException for row {part}, retry 1"),
            info("Db", "row {part} saved at retry 1"),
        ),
    ),
)

RED_HERRINGS = (
    RedHerring(
        "database_down",
        (
            error(
                "ReportDb",
                "java.sql.SQLException: connect to {host}:3306\n\tat com.acme.ReportDb.open(ReportDb.java:{n})",
            ),
            error("ReportDb", "java.sql.SQLException: connect to {host}:3306, attempt 2"),
            error("ReportDb", "nightly report {part} postponed"),
            info("ReportDb", "{host} back after its planned reboot, report {part} written, live orders never use it"),
        ),
    ),
    RedHerring(
        "old_credentials",
        (
            error(
                "Ldap",
                "javax.naming.AuthenticationException: bind of svc-test{part}\n\tat com.acme.Ldap.bind(Ldap.java:{n})",
            ),
            error("Ldap", "javax.naming.AuthenticationException: bind of svc-test{part}"),
            error("Ldap", "bind of svc-test{part} refused again"),
            info("Ldap", "svc-test{part} belongs to the test suite, account removed on purpose"),
        ),
    ),
)

STYLE = Style(
    name="java",
    title=say("application log of {svc}", "{svc} 的应用日志"),
    max_lines=40,
    background=BACKGROUND,
    harmless=HARMLESS,
    red_herrings=RED_HERRINGS,
    families=FAMILIES,
)
