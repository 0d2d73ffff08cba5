"""Faulty parts of a web server or behind one, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "upstream_down": parts(
        "[{svc}/upstream/backend/application/app/process/app server/application server/backend process/{ip}:{port}/"
        "{ip}] & [down/dead/crashed/stopped/not running/isn't running/not listening/isn't listening/exited/died/has "
        "died/offline/unavailable/unreachable/not up/killed/terminated/gone/went away/shut down/not started]|[nothing/"
        "nobody/no process/no one/no listener/none] & [listens/listening/accepts connections/accepting/accepts/bound/"
        "port]|no listener",
        "[{svc}/上游/后端/上游服务/后端服务/应用/进程/后端进程/{ip}:{port}] & [挂/宕/崩溃/退出/停止/停了/未运行/"
        "没有运行/没运行/没启动/未启动/没在监听/没有监听/没有在监听/未监听/无人监听/不可用/不在线/down/下线/停机/死掉/"
        "不存活]|[没有/无][进程/人]~监听",
    ),
    "upstream_slow": parts(
        "[{svc}/backend/upstream/upstream service/backend service/application/report/reports/endpoint/report query] & "
        "[slow/slowly/slower/too slow/too long/longer than/takes longer/needs longer/overloaded/sluggish/lagging/late/"
        "timeout/timeouts/timed out/times out/time out/latency/stalls/bogged/cannot keep up/can't keep up/not in time/"
        "needs more time/performance/hangs/hanging/unresponsive]|needs longer than|takes longer than",
        "[{svc}/上游/后端/上游服务/后端服务/报表/接口/报表请求/慢接口/应用] & [慢/过长/太久/超时/耗时/缓慢/迟迟/过载/"
        "来不及/卡住/卡顿/拖/性能/不及时]",
    ),
    "body_limit": parts(
        "[body/request body/upload/uploads/payload/entity/request size/request entity/attachment/client_max_body_size/"
        "body size/file size/upload size] & [limit/limits/limited/too large/too big/bigger than/larger than/exceeds/"
        "exceed/exceeded/exceeding/above/over/maximum/max/cap/capped/1m/1 MB/oversized/beyond/restriction/restricted/"
        "left at/default]",
        "[请求体/请求体大小/上传/文件/body/client_max_body_size/附件/报文体/上传文件] & [限制/上限/超过/超出/超限/"
        "过大/太大/1m/大于/1 MB/限得]",
    ),
    "worker_limit": parts(
        "[worker_connections/worker connection/worker connections/connection slot/connection slots/slots/slot/nginx "
        "connections/nginx slots/connection capacity] & <exhausted>|[worker_connections/worker connections/connection "
        "slots] & [held/holding/hogged/occupied/taken/tied up/blocked by/pinned/reached/maximum/ceiling]|[keep-alive/"
        "keepalive/idle connections/idle clients] & [holding/hold/hogging/hog/hogged/occupy/occupies/occupying/tie up/"
        "tied up/tying up/pin/pinned/exhaust/exhausting/eat up/fill/filling] & [slot/slots/connection/connections/"
        "nginx]|nginx ~ [out of connections/full]|no free ~ [slot/connection slot/connection]",
        "[worker_connections/worker 连接/worker 连接数/连接槽/连接槽位/槽位/工作进程连接/工作进程连接数/nginx 连接/"
        "nginx 连接数/nginx] & <exhausted>|[长连接/keep-alive/keepalive/空闲连接] & [占/占住/占用/占满/占着/不释放]|"
        "worker_connections & 用满",
    ),
    "traffic_flood": parts(
        "[{ip}/client/address/IP/source/host/bot/crawler/scraper/one/single/requests/request/traffic] & [flood/floods/"
        "flooding/flooded/hammer/hammering/hammers/abuse/abusing/abusive/attack/attacks/attacking/attacker/DoS/DDoS/"
        "excessive/too many requests/overload/overloading/overwhelming/overwhelms/bombard/bombarding/scraping/"
        "crawling/far more/way more/storm/swamp/swamping/spamming/excess/hogging/surge/aggressive/monopolising/"
        "runaway]|[scraper/crawler/bot] … [{ip}/traffic]",
        "[{ip}/客户端/地址/IP/来源/单一/单个/单源/请求/流量] & [刷/攻击/爬取/爬虫/高频/频率极高/极高频率/极高的频率/"
        "大量请求/海量/洪水/过多/轰炸/滥用/恶意/暴力/突增/激增/打爆/过量/压垮/CC/狂刷/猛刷/异常请求/异常流量/刷量]|"
        "[刷/狂刷/猛刷]~/{page}",
    ),
}
