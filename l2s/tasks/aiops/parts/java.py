"""Faulty parts of a Java application, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "heap_leak": parts(
        "[{cls}/object/instance/heap/old generation/old gen/memory] & [leak/leakage/pile up/pile-up/accumulate/"
        "accumulation/never release/never free/never let go/never evict/not release/not free/not evict/retain/keep "
        "growing/grow without/growing without/grow unbounded/unbounded/use up/exhaust/exhaustion/full/out of memory/"
        "ran out/run out/overflow/uncollectable/hoard/build up/hold on/held forever/never garbage/never collect/not "
        "collect/not be freed/not be collected/swamp/hog/eat/ate/eaten/fill/fill up/swallow/clog/stay alive/endless "
        "growth/never shrink/only grow/never go away/not go away/cram/choke]|[hold/keep/retain/cling] … [every/all/on "
        "to every/on to all/too many/references to] {cls}",
        "[{cls}/对象/实例/堆/老年代/内存] & [泄漏/泄露/堆积/只增不减/只进不出/不释放/未释放/没有释放/没释放/累积/积累/"
        "撑爆/爆/溢出/耗尽/占满/无法回收/回收不掉/回收不了/不回收/持续增长/膨胀/增长/满/用尽/用光/吃光/占光/耗光/驻留/"
        "越积越多/越来越多/没清/不清/攒/滞留/占着/塞]",
    ),
    "deadlock": parts(
        "[thread/worker-{tid}/worker-{tid2}/worker/lock/monitor/{cls}/{cls2}] & [deadlock/each other/each other's/one "
        "another/circular/cyclic/cycle/loop/opposite order/reverse order/opposite orders/inconsistent order/mutual/"
        "mutually/crosswise/deadly embrace/invert/inversion/the other's/the other one's/want the other/other needs/"
        "other wants/other holds/vice versa/the reverse/both directions/backwards/swapped order/abba/ab-ba]|lock "
        "[ordering/order/inversion/cycle]|lock-order|neither [ever/can/thread]|[abba/ab-ba] [deadlock/lock/locking]",
        "[线程/锁/{cls}/worker-{tid}/worker-{tid2}/双方/两边] & [死锁/互锁/互等/互相等/相互等/循环等待/等对方/"
        "等待对方/互相/相互/彼此/互持/环路/循环/成环/环形/交叉/顺序相反/相反顺序/相反/顺序颠倒/颠倒/反着/对方的锁/"
        "对方要的]|互锁|互等|[AB-BA/ABBA]",
    ),
    "thread_pool_full": parts(
        "[thread pool/executor/{svc}-exec/task queue/worker pool/thread-pool/exec pool] & <exhausted>|[thread/worker/"
        "pool/executor/{svc}-exec] & [block/stuck/wait/hang/hung/tie up/tied up/tying up/busy/occupied/park/sit/pin/"
        "jam/clog/trap/starve/use up/eat up/stall/held] & [HTTP/outgoing/outbound/call/HttpClient/HttpClient.send/"
        "downstream/remote/external/client]|all … [threads/workers] ~ [busy/active/blocked/stuck/occupied/in use/"
        "hanging/hung/taken]|[executor/{svc}-exec] & [jam/clog/overload/all stuck/all blocked]|"
        "[thread/worker] & [starvation/exhaustion]",
        "[线程池/执行器/{svc}-exec/任务队列/线程] & <exhausted>|[线程/执行器/{svc}-exec/池] & [阻塞/卡/堵/占/等/挂/"
        "停在/拖] & [HTTP/外呼/下游/调用/HttpClient/HttpClient.send/响应/外部/远端/接口]|[线程/执行线程/工作线程] & "
        "[全忙/都忙/全在忙/全部忙/全占/全堵/全卡]",
    ),
    "library_conflict": parts(
        "[{lib}/jar/library/dependency/class path/classpath] & [two versions/two different versions/both/two/conflict/"
        "twice/duplicate/clash/mismatch/incompatible/incompatibility/different versions/mix/mixed/mix-up/mixup/wrong "
        "version/older copy/older version/old version/old copy/old jar/older jar/stale/wrong copy/shadow/side by side/"
        "collide/collision/two copies/both versions/wrong one/older one/old one/double/leftover/outdated/hell]|"
        "{version} & {version2} & [class path/classpath/both/shadow/win/instead/beside/alongside/mix/clash/conflict]",
        "[{lib}/jar/依赖/类库/类路径/第三方库/classpath/版本] & [冲突/两个/两版/两份/重复/并存/共存/不兼容/多版本/"
        "多个版本/不一致/混/同时/不匹配/打架/旧版/老版/新旧/错误版本/版本错/错版本/双份/两种]|[旧版/老版本/旧的/"
        "低版本/旧]~{lib}|{version} & {version2} & [同时/并存/冲突/共存/都/两]",
    ),
    "schema_mismatch": parts(
        "[field/{field}/producer] & [new/add/extra/unexpected/unknown/change/start/introduce]|[schema/message format/"
        "record format/data format/format/field/{field}/consumer/reader/message/record/producer/{topic}] & "
        "[incompatible/incompatibility/mismatch/unknown/not know/unaware/not read/not parse/no longer parse/not "
        "deserialise/not deserialize/not decode/cannot read/cannot parse/cannot deserialise/cannot deserialize/cannot "
        "decode/cannot handle/not handle/change/unexpected/unsupported/not support/not understood/not understand/old "
        "schema/outdated/diverge/unrecognised/unrecognized/not recognise/not recognize/breaking/break/not backward/"
        "backward-incompatible/evolve/lack/missing/behind/choke/trip/not prepared/disagree/drift/stumble/reject/not "
        "expect/not updated/fails to read/fails to parse/fails to decode/fails to deserialize/out of step]",
        "[schema/格式/字段/{field}/生产者/生产端/生产方/消费者/消费端/消费方/消息/读端/读取端/读方/读模式/模式/结构] "
        "& [不兼容/不认/不识别/没法识别/无法识别/识别不/无法解析/不能解析/不匹配/不一致/不符/新增/新加/加了/增加/多了/"
        "多出/变更/改动/改了/改/变了/未升级/没升级/旧 schema/太旧/过旧/读不懂/读不了/解不了/解析不/解不开/"
        "反序列化失败/反序列化异常/未同步/没同步/没跟上/新字段/加字段/没有 {field}/没有这个字段/不在/未知/陌生]",
    ),
    "gc_pause": parts(
        "[GC/garbage collection/collection/full collection/collector/full GC/stop-the-world/stop the world/JVM/"
        "collecting] & [pauses/paused/pausing/stop/freeze/froze/frozen/stall/too long/very long/excessive/halt/thrash/"
        "back to back/back-to-back/long/prolonged/hang/hung/block/suspend/storm/multi-second/repeated/constant/"
        "constantly/all the time/endless]|stop-the-world",
        "[GC/垃圾回收/回收/JVM/Full GC/垃圾收集/STW] & [停/暂停/卡/过长/太久/长时间/冻/频繁/反复/连续/耗时/抖动/假死/"
        "僵/不停/挂起/太长]|STW",
    ),
}
