"""Faulty parts of a Java application, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "heap_leak": parts(
        "[{cls}/objects/instances/heap/Java heap/old generation/old gen/memory/JVM heap] & [leak/leaks/leaking/leaked/"
        "leakage/piles up/pile up/piling up/pile-up/accumulate/accumulates/accumulating/accumulation/never released/"
        "never freed/never let go/never evicted/not released/not freed/not evicted/retained/retains/keeps growing/"
        "grows without/growing without/unbounded/used up/exhausted/exhaustion/full/out of memory/ran out/runs out/"
        "overflow/uncollectable/hoarding/hoards/builds up/build up/hold on/held forever]",
        "[{cls}/对象/实例/堆/老年代/堆内存/内存/Java 堆] & [泄漏/泄露/堆积/只增不减/不释放/未释放/没有释放/累积/撑爆/"
        "溢出/打爆/耗尽/占满/无法回收/回收不掉/持续增长/膨胀/不断增长/满/用尽/用光/驻留]",
    ),
    "deadlock": parts(
        "[threads/thread/worker-{tid}/worker-{tid2}/workers/locks/lock/monitors/monitor/{cls}] & [deadlock/deadlocked/"
        "deadlocks/each other/each other's/one another/circular/cyclic/cycle/opposite order/reverse order/mutual/"
        "mutually/crosswise/deadly embrace/inverted/inversion/the other's/the other one's/want the other]|lock "
        "[ordering/order/inversion/cycle]|neither [ever/can/thread]",
        "[线程/锁/加锁/{cls}/worker-{tid}/worker-{tid2}] & [死锁/互锁/互等/互相等/相互等/循环等待/等对方/等待对方/"
        "互相持有/互相卡/环路/循环/交叉/互相占]|互锁|互等",
    ),
    "thread_pool_full": parts(
        "[thread pool/executor/{svc}-exec/task queue/worker pool/thread-pool] & <exhausted>|[threads/worker threads/"
        "workers/pool/executor/every thread/{svc}-exec] & [blocked/stuck/waiting/wait/hang/hanging/hung/tied up/busy/"
        "occupied/parked/sit/sitting] & [HTTP/outgoing/outbound/call/calls/HttpClient/HttpClient.send/downstream/"
        "remote]|all threads ~ [busy/active/blocked/stuck/occupied]",
        "[线程池/执行器/{svc}-exec/任务队列/工作线程] & <exhausted>|[线程/线程池/执行器/工作线程] & [阻塞/卡/堵/占/"
        "等待/挂住] & [HTTP/外呼/下游/调用/HttpClient/HttpClient.send/响应/外部]",
    ),
    "library_conflict": parts(
        "[{lib}/jar/jars/library/libraries/dependency/dependencies/class path/classpath] & [two versions/both "
        "versions/conflict/conflicts/conflicting/twice/duplicate/duplicated/duplicates/clash/clashes/clashing/"
        "mismatch/mismatched/incompatible/incompatibility/different versions/mixed/mix/wrong version/older copy/older "
        "version/wrong copy/shadowed/shadows/side by side/collide/collision/two copies/both/two]",
        "[{lib}/jar/jar 包/依赖/依赖包/类库/类路径/第三方库] & [冲突/两个版本/两份/重复/并存/不兼容/多版本/多个版本/"
        "版本不一致/混用/同时带入/同时存在/不匹配]",
    ),
    "schema_mismatch": parts(
        "[field/{field}/producer] & [new/added/adds/extra/unexpected/unknown/changed/started]|[schema/message format/"
        "record format/data format/format/field/{field}/consumer/reader/message/messages/records/producer] & "
        "[incompatible/incompatibility/mismatch/mismatched/mismatches/unknown/does not know/doesn't know/cannot read/"
        "can't read/cannot parse/can't parse/cannot deserialise/cannot deserialize/can't deserialize/can't decode/"
        "cannot decode/changed/unexpected/unsupported/not understood/doesn't understand/does not understand/old "
        "schema/outdated/diverged/unrecognised/unrecognized/breaking/not backward/evolved]",
        "[schema/格式/消息格式/字段/{field}/生产者/生产端/消费者/消费端/消息] & [不兼容/不认识/不识别/无法识别/"
        "无法解析/不匹配/不一致/新增/加了/增加了/多了/变更/改动/改了/未升级/没升级/旧 schema/读不懂/解析不了/"
        "反序列化失败/反序列化异常/未同步/新字段]",
    ),
    "gc_pause": parts(
        "[GC/GCs/garbage collection/garbage collections/collections/full collections/collector/full GC/full GCs/"
        "stop-the-world/stop the world/JVM] & [pauses/paused/pausing/stop/stops/stopped/stopping/freeze/freezes/"
        "frozen/freezing/stall/stalls/stalled/stalling/too long/very long/excessive/halts/halted/thrash/thrashing/"
        "thrashes/back to back/back-to-back/long/prolonged]|stop-the-world",
        "[GC/垃圾回收/回收/JVM/Full GC/垃圾收集/内存回收] & [停顿/暂停/卡顿/过长/太久/停了/全停/STW/冻结/卡死/频繁/"
        "耗时/停摆/停住]|STW",
    ),
}
